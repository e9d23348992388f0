/* SPDX-License-Identifier: GPL-2.0-only */
/* build: -Itests-c/rig-lists */
#define RIG_FIRST
#include "test_rig_list.c"
