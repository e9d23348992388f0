// SPDX-License-Identifier: GPL-2.0-only

/// Fills up what would share a cache line with the next field.  MMUTests measures.
typealias Reserved<let words: Int> = InlineArray<words, UInt>
