// SPDX-License-Identifier: GPL-2.0-only

/// A slot table in memory; pointers to its records follow (Memslots.swift).
struct SlotTableHeader {
    /// Counts the tables of this address space in steps of two; MMIO SPTEs carry it.
    var generation: UInt64
    var count: Int
}
