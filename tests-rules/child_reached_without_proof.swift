// SPDX-License-Identifier: GPL-2.0-only
// refused: missing argument for parameter #2
import PageTable

func follows(_ entry: SPTE) -> Table { Table(child: entry) }
