// SPDX-License-Identifier: GPL-2.0-only
// refused: cannot convert value of type 'HeldForRead'
import MMU
import Sync

func zaps(_ vm: VM) { vm.lock.read { hold in vm.zapAll(&hold) } }
