// SPDX-License-Identifier: GPL-2.0-only
// refused: (cannot use mutating member on immutable value|borrowed)
import RCU

func leaves(_ rcu: borrowing InsideRCU) { rcu.leave {} }
