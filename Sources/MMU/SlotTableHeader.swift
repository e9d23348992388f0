// SPDX-License-Identifier: GPL-2.0-only

/// A slot table in memory; for each of its orders a list of pairs follows, of slots or of chunks (SlotTable.swift).
struct SlotTableHeader {
    /// Counts the tables of this address space in steps of two; MMIO SPTEs carry it.
    var generation: UInt64
    /// Slots.
    var count: Int
    /// Pairs that each order has room for.
    var room: Int
    /// Chunks of each order, in a table that has its slots in chunks.
    var chunks = InlineArray<4, UInt16>(repeating: 0)
    /// The first of the chunks that the table before has and this one has not.
    var dropped: UnsafeMutableRawPointer?
}
