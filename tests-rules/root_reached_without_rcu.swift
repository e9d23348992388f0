// SPDX-License-Identifier: GPL-2.0-only
// refused: (missing argument|cannot convert)
import MMU
import PageTable

func reads(_ vcpu: VCPU) -> Table? { vcpu.root() }
