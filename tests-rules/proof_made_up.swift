// SPDX-License-Identifier: GPL-2.0-only
// refused: initializer is inaccessible due to 'fileprivate' protection level
import PageTable
import RCU

func reads(_ table: Table) -> SPTE { table[0].load(InsideRCU()) }
