// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import PageTable
import RCU
import Sync
import Synchronization

package enum DirtyLogError {
    case none
    case noSlot
    case invalid
    /// Rings remember, and there are no bitmaps.
    case noBitmaps
}

extension VM {
    /// Is it a slot's number: the id with the address asID in bits 31:16?
    private func isSlotNumber(_ number: UInt32) -> Bool {
        number >> 16 < 2 && number & 0xffff < UInt32(KVM_USER_MEM_SLOTS)
    }

    /// A logged slot and its bitmap.
    private func logged(
        _ number: UInt32, _ held: borrowing SlotsLocked
    ) -> (slot: kvm_memory_slot, bitmap: DirtyBitmap)? {
        guard let record = slots(Int32(number >> 16), held).record(ofID: UInt16(number & 0xffff)),
              let bitmap = record.pointee.bitmap else { return nil }
        return (record.pointee.slot, bitmap)
    }

    /// Copies the bitmap out and, unless the VM protects by hand, clears it and
    /// write-protects what it named.
    @inline(never)
    package func getDirtyLog(_ number: UInt32, _ out: UnsafeMutablePointer<UInt64>) -> DirtyLogError {
        withSlotsLocked { held in
            guard ringSize == 0 else { return .noBitmaps }
            guard isSlotNumber(number) else { return .invalid }
            guard let (slot, bitmap) = logged(number, held) else { return .noSlot }
            drainDirtyLogs()
            let words = DirtyBitmap.wordCount(pages: slot.npages)
            if switches.manualProtect {
                for i in 0..<words { out[i] = bitmap.word(i).pointee.load(ordering: .relaxed) }
                return .none
            }
            harvest(slot, words: 0..<words) { i in
                out[i] = bitmap.word(i).pointee.exchange(0, ordering: .relaxed)
                return out[i]
            }
            return .none
        }
    }

    /// Clears the named bits and write-protects those pages that were dirty.
    @inline(never)
    package func clearDirtyLog(
        _ number: UInt32, first: UInt64, pages: UInt64, _ bits: UnsafePointer<UInt64>
    ) -> DirtyLogError {
        withSlotsLocked { held in
            guard ringSize == 0 else { return .noBitmaps }
            guard isSlotNumber(number), first % 64 == 0 else { return .invalid }
            guard let (slot, bitmap) = logged(number, held) else { return .noSlot }
            guard first <= slot.npages, pages <= slot.npages - first,
                  pages % 64 == 0 || first + pages == slot.npages else { return .invalid }
            drainDirtyLogs()
            let start = Int(first / 64)
            harvest(slot, words: start..<start + DirtyBitmap.wordCount(pages: pages)) { i in
                let mask = bits[i - start]
                guard mask != 0 else { return 0 }
                return bitmap.word(i).pointee.bitwiseAnd(~mask, ordering: .relaxed).oldValue & mask
            }
            return .none
        }
    }

    /// Takes bits word by word and makes the pages they name visible again when
    /// written, all under one hold of mmu_lock: no fault comes between.
    @inline(never)
    private func harvest(_ slot: kvm_memory_slot, words: Range<Int>, _ take: (Int) -> UInt64) {
        var flush = OwedFlush()
        lock.write { hold in
            for i in words {
                let mask = take(i)
                guard mask != 0 else { continue }
                // Whatever was found: what the log names is flushed, as the kernel does.
                flush.owe()
                logAgain(slot, offset: UInt64(i) * 64, mask: mask, &hold, owing: &flush)
            }
        }
        flush.pay { self.flush(GFN(slot.base_gfn), pages: slot.npages) }
    }

    @inline(never)
    func logAgain(
        _ slot: kvm_memory_slot, offset: UInt64, mask: UInt64, _ hold: inout HeldForWrite, owing flush: inout OwedFlush
    ) {
        let asID = Int32(slot.as_id), base = GFN(slot.base_gfn + offset), switches = switches
        if switches.manualProtect && switches.initiallySet {
            // Nothing was protected when logging began: huge pages first.
            let first = base + UInt64(mask.trailingZeroBitCount)
            let last = base + UInt64(63 - mask.leadingZeroBitCount)
            if switches.eagerSplit {
                _ = hold.eitherWay { splitHugePages(addressSpace: asID, start: first, end: last + 1, target: .page4K, &$0) }
            }
            _ = writeProtect(first, addressSpace: asID, minLevel: .page2M, &hold, owing: &flush)
            // Rounded up, as the kernel does: it sees a border behind a first gfn that is aligned, too.
            if (first + 511).rounded(to: .page2M) != (last + 511).rounded(to: .page2M) {
                _ = writeProtect(last, addressSpace: asID, minLevel: .page2M, &hold, owing: &flush)
            }
        }
        clearDirty(base, mask: mask, addressSpace: asID, writeProtect: !logsByDirtyBits, hold, owing: &flush)
    }

    private var logsByDirtyBits: Bool { usesPML && masks.dirty != 0 }

    /// Dirty logging of a slot was switched; its flags are published already.
    @inline(never)
    func applyLogging(_ slot: kvm_memory_slot, on: Bool) {
        guard on else {
            lock.read { hold in hold.eitherWay { zapCollapsible(slot, &$0) } }
            return
        }
        // All pages count as dirty until they are cleared: nothing to protect yet.
        let switches = switches
        if switches.manualProtect && switches.initiallySet { return }
        if switches.eagerSplit {
            lock.read { hold in
                _ = hold.eitherWay {
                    splitHugePages(
                        addressSpace: Int32(slot.as_id), start: GFN(slot.base_gfn),
                        end: GFN(slot.base_gfn + slot.npages), target: .page4K, &$0)
                }
            }
            rig.yielded()
        }
        var flush = OwedFlush()
        if logsByDirtyBits {
            lock.read { hold in _ = clearDirty(slot, &hold, owing: &flush) }
            rig.yielded()
            // A huge page must fault to be split: Dirty on it would count 512 pages.
            lock.read { hold in _ = writeProtect(slot, minLevel: .page2M, &hold, owing: &flush) }
        } else {
            lock.read { hold in _ = writeProtect(slot, minLevel: .page4K, &hold, owing: &flush) }
        }
        flush.forgo(because: "the slot is flushed, whatever was found")
        self.flush(GFN(slot.base_gfn), pages: slot.npages)
    }

    @inline(never)
    package func markDirty(_ gfn: GFN, addressSpace: Int32) {
        insideRCU { rcu in
            guard let slot = slot(holding: gfn, addressSpace: addressSpace, rcu), slot.isDirtyLogged else { return }
            if hasDirtyRings {
                warn(.argument, "tdpmmu_mark_page_dirty", "rings belong to vCPUs: the page is in no log (gfn)", gfn.raw)
            }
            see(.dirtied, gfn: gfn, pages: 1, slot: slot)
            slot.markDirty(gfn, by: nil)
        }
    }
}
