// SPDX-License-Identifier: GPL-2.0-only
// refused: initializer is inaccessible due to 'fileprivate' protection level
import MMU
import Sync

func zaps(_ vm: VM) {
    var hold = HeldForWrite()
    vm.zapAll(&hold)
}
