// SPDX-License-Identifier: GPL-2.0-only
// refused: 'store' is inaccessible due to 'fileprivate' protection level
import PageTable

func writes(_ table: Table) { table[0].store(.nonPresent) }
