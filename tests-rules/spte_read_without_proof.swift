// SPDX-License-Identifier: GPL-2.0-only
// refused: missing argument for parameter #1
import PageTable

func reads(_ table: Table) -> SPTE { table[0].load() }
