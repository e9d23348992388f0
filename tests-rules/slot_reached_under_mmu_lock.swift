// SPDX-License-Identifier: GPL-2.0-only
// refused: requires that 'HeldForRead' conform to 'KeepsSlots'
import MMU
import PageTable
import Sync

func looks(_ vm: VM, _ hold: borrowing HeldForRead) -> Bool { vm.slot(holding: GFN(0), addressSpace: 0, hold) != nil }
