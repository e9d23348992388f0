// SPDX-License-Identifier: GPL-2.0-only
// refused: missing argument for parameter #3
import MMU
import PageTable

func looks(_ vm: VM) -> Bool { vm.slot(holding: GFN(0), addressSpace: 0) != nil }
