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
    /// Is it a slot's number: the id with the address space in bits 31:16?
    private func isSlotNumber(_ number: UInt32) -> Bool {
        number >> 16 < 2 && number & 0xffff < UInt32(KVM_USER_MEM_SLOTS)
    }

    /// A logged slot and its bitmap; under VMLock.slots.
    private func logged(_ number: UInt32) -> (slot: kvm_memory_slot, bitmap: DirtyBitmap)? {
        let table = slots(Int32(number >> 16)), index = table.index(ofID: UInt16(number & 0xffff))
        guard index >= 0, let bitmap = table[index].pointee.bitmap else { return nil }
        return (table[index].slot.pointee, bitmap)
    }

    /// Copies the bitmap out and, unless the VM protects by hand, clears it and
    /// write-protects what it named.
    @inline(never)
    package func getDirtyLog(_ number: UInt32, _ out: UnsafeMutablePointer<UInt64>) -> DirtyLogError {
        locked(.slots) {
            guard ringSize == 0 else { return .noBitmaps }
            guard isSlotNumber(number) else { return .invalid }
            guard let (slot, bitmap) = logged(number) else { return .noSlot }
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
        locked(.slots) {
            guard ringSize == 0 else { return .noBitmaps }
            guard isSlotNumber(number), first % 64 == 0 else { return .invalid }
            guard let (slot, bitmap) = logged(number) else { return .noSlot }
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
        var flush = false
        guard lock.writeLock() else { return }
        for i in words {
            let mask = take(i)
            guard mask != 0 else { continue }
            flush = true
            logAgain(slot, offset: UInt64(i) * 64, mask: mask)
        }
        _ = lock.writeUnlock()
        if flush { self.flush(GFN(slot.base_gfn), pages: slot.npages) }
    }

    /// mmu_lock for write.
    @inline(never)
    func logAgain(_ slot: kvm_memory_slot, offset: UInt64, mask: UInt64) {
        let space = Int32(slot.as_id), base = GFN(slot.base_gfn + offset), switches = switches
        if switches.manualProtect && switches.initiallySet {
            // Nothing was protected when logging began: huge pages first.
            let first = base + UInt64(mask.trailingZeroBitCount)
            let last = base + UInt64(63 - mask.leadingZeroBitCount)
            if switches.eagerSplit {
                _ = splitHugePages(addressSpace: space, start: first, end: last + 1, target: .page4K, .exclusive)
            }
            _ = writeProtect(first, addressSpace: space, minLevel: .page2M)
            // Rounded up, as the kernel does: it sees a border behind a first gfn that is aligned, too.
            if (first + 511).rounded(to: .page2M) != (last + 511).rounded(to: .page2M) {
                _ = writeProtect(last, addressSpace: space, minLevel: .page2M)
            }
        }
        clearDirty(base, mask: mask, addressSpace: space, writeProtect: !logsByDirtyBits)
    }

    private var logsByDirtyBits: Bool { state.pointee.config.usesPML && masks.dirty != 0 }

    /// Dirty logging of a slot was switched; its flags are published already.
    @inline(never)
    func applyLogging(_ slot: kvm_memory_slot, on: Bool) {
        guard on else {
            lockedForRead { zapCollapsible(slot) }
            return
        }
        // All pages count as dirty until they are cleared: nothing to protect yet.
        let switches = switches
        if switches.manualProtect && switches.initiallySet { return }
        if switches.eagerSplit {
            lockedForRead {
                _ = splitHugePages(
                    addressSpace: Int32(slot.as_id), start: GFN(slot.base_gfn),
                    end: GFN(slot.base_gfn + slot.npages), target: .page4K, .shared)
            }
            tellYielded()
        }
        if logsByDirtyBits {
            lockedForRead { _ = clearDirty(slot) }
            tellYielded()
            // A huge page must fault to be split: Dirty on it would count 512 pages.
            lockedForRead { _ = writeProtect(slot, minLevel: .page2M) }
        } else {
            lockedForRead { _ = writeProtect(slot, minLevel: .page4K) }
        }
        flush(GFN(slot.base_gfn), pages: slot.npages)
    }

    private func lockedForRead(_ body: () -> Void) {
        guard lock.readLock() else { return }
        body()
        _ = lock.readUnlock()
    }

    /// Do the CPUs report pages whose Dirty bit they set?
    package var usesPML: Bool { state.pointee.config.usesPML }

    @inline(never)
    package func markDirty(_ gfn: GFN, addressSpace: Int32) {
        insideRCU {
            guard let slot = slot(holding: gfn, addressSpace: addressSpace), slot.isDirtyLogged else { return }
            if hasDirtyRings {
                warn(.argument, "tdpmmu_mark_page_dirty", "rings belong to vCPUs: the page is in no log (gfn)", gfn.raw)
            }
            slot.markDirty(gfn, by: nil)
        }
    }
}

extension VCPU {
    /// Is there room for the page, if it must be logged?  Inside RCU.
    package func canLogDirty(_ gfn: GFN) -> Bool {
        guard vm.usesPML, ringIsNearlyFull else { return true }
        return !(vm.slot(holding: gfn, addressSpace: addressSpace)?.isDirtyLogged ?? false)
    }

    /// The CPU set Dirty on the page that holds gfn.  Inside RCU.
    package func logDirty(_ gfn: GFN) {
        guard vm.usesPML else { return }
        vm.slot(holding: gfn, addressSpace: addressSpace)?.markDirty(gfn, by: self)
    }
}
