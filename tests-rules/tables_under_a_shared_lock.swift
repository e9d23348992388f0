// SPDX-License-Identifier: GPL-2.0-only
// refused: requires that 'HeldForRead' conform to 'KeepsTables'
import PageTable
import Sync

func reads(_ table: Table, _ hold: borrowing HeldForRead) -> SPTE { table[0].load(hold) }
