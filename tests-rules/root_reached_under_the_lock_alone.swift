// SPDX-License-Identifier: GPL-2.0-only
// refused: cannot convert value of type 'HeldForWrite' to expected argument type 'InsideRCU'
import MMU
import PageTable
import Sync

func reads(_ vcpu: VCPU, _ hold: borrowing HeldForWrite) -> Table? { vcpu.root(hold) }
