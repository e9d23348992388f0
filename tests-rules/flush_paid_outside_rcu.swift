// SPDX-License-Identifier: GPL-2.0-only
// refused: missing argument for parameter #1
import PageTable
import RCU

func pays(_ flush: inout OwedFlush) {
    insideRCU { _ in flush.oweForTable() }
    flush.payForTables { }
}
