/* SPDX-License-Identifier: GPL-2.0-only */
/* Wherever the compiler finds it. */
#include <zlib.h>
