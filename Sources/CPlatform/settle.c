/* SPDX-License-Identifier: GPL-2.0-only */
#include "cp_settle.h"

#ifndef TDPMMU_SHARED_LIBRARY
#include <stdio.h>
#include <stdlib.h>

void cp_dropped_without_being_settled(void)
{
    fputs("libtdpmmu: a value that must be settled was dropped\n", stderr);
    abort();
}
#endif
