// SPDX-License-Identifier: GPL-2.0-only
// refused: (borrowed and cannot be consumed|captured by a closure|cannot be consumed|missing reinitialization of inout)
import PageTable
import RCU

struct Later: ~Copyable { let proof: InsideRCU }

func keeps() -> Later { insideRCU { rcu in Later(proof: rcu) } }
