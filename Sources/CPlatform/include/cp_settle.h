/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef CP_SETTLE_H
#define CP_SETTLE_H

/*
 * Called where a value that must be used up is dropped (Sync/MustSettle.swift).  Not in the
 * shared object, so that such a place does not link.
 */
void cp_dropped_without_being_settled(void);

#endif
