// SPDX-License-Identifier: GPL-2.0-only
// refused: cannot pass immutable value as inout argument
import MMU
import Sync

func zaps(_ vm: VM, _ hold: borrowing HeldForWrite) { vm.zapAll(&hold) }
