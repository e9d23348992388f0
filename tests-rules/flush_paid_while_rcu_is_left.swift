// SPDX-License-Identifier: GPL-2.0-only
// refused: overlapping accesses to 'rcu'
import PageTable
import RCU

func givesWay(_ flush: inout OwedFlush, _ rcu: inout InsideRCU) {
    rcu.leave { flush.payNow(rcu) { } }
}
