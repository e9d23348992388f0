// SPDX-License-Identifier: GPL-2.0-only
import CPlatform
import Synchronization

/// A bit for each page of a logged slot.  Faults set bits from any thread.
struct DirtyBitmap {
    let words: UnsafeMutablePointer<Atomic<UInt64>>

    static func wordCount(pages: UInt64) -> Int { Int((pages + 63) / 64) }

    static func make(pages: UInt64, allDirty: Bool) -> DirtyBitmap? {
        let words = wordCount(pages: pages)
        guard let memory = cp_alloc_zeroed(words * MemoryLayout<Atomic<UInt64>>.stride) else { return nil }
        if allDirty {
            // Its slot is not published yet.  Word by word; of the last one only the slot's own pages.
            let raw = memory.assumingMemoryBound(to: UInt64.self)
            raw.update(repeating: .max, count: words)
            if pages % 64 != 0 { raw[words - 1] = (1 << (pages % 64)) - 1 }
        }
        return DirtyBitmap(words: memory.assumingMemoryBound(to: Atomic<UInt64>.self))
    }

    @inline(__always) func word(_ index: Int) -> UnsafeMutablePointer<Atomic<UInt64>> { words + index }

    func contains(_ page: UInt64) -> Bool {
        word(Int(truncatingIfNeeded: page &>> 6)).pointee.load(ordering: .relaxed) &>> (page & 63) & 1 != 0
    }

    /// Relaxed: the bit says that a page was written, not what was; getDirtyLog() and
    /// clearDirtyLog() protect the page after they took the bit, before their caller reads the page.
    @inline(__always) func set(_ page: UInt64) {
        let bit: UInt64 = 1 << (page & 63), word = word(Int(page / 64))
        // A page that is dirty already, the common case, costs no locked operation.
        if word.pointee.load(ordering: .relaxed) & bit == 0 {
            word.pointee.bitwiseOr(bit, ordering: .relaxed)
        }
    }
}
