// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import RCU
import Sync
import XCTest

@testable import MMU
@testable import PageTable

/// A VM with one vCPU and what its callbacks saw.
final class Fixture {
    final class Log {
        struct Change: Equatable {
            var gfn: UInt64
            var level: Int32
            var old: UInt64
            var new: UInt64
        }
        var changes: [Change] = []
        var flushes: [Range<UInt64>] = []
        var warnings: [String] = []
        /// Yield at every opportunity.
        var alwaysYield = false
    }

    let vm: VM
    let vcpu: VCPU
    let log = Log()

    init(vendor: Vendor = .npt, rootLevel: Int32 = 4, tableLimit: UInt64 = 0) {
        var ops = tdpmmu_ops()
        ops.size = MemoryLayout<tdpmmu_ops>.size
        ops.spte_changed = { context, _, _, gfn, level, old, new, _ in
            Fixture.log(context).changes.append(.init(gfn: gfn, level: level, old: old, new: new))
        }
        ops.flush_tlb = { context, _, start, pages in
            let (end, wraps) = start.addingReportingOverflow(pages)
            Fixture.log(context).flushes.append(start..<(wraps ? .max : end))
        }
        ops.warn = { context, _, warning in
            Fixture.log(context).warnings.append(String(cString: warning!.pointee.text))
        }
        ops.need_resched = { context, _ in Fixture.log(context).alwaysYield }
        vm = VM.make(VMConfiguration(
            vendor: vendor, rootLevel: Level(rootLevel), maxPhysicalBits: 40, adDisabled: false,
            tableLimit: tableLimit, ops: ops, opsContext: Unmanaged.passUnretained(log).toOpaque()))!
        XCTAssertTrue(vm.setUp())
        vcpu = VCPU.make(vm, id: 0).0!
        XCTAssertEqual(vcpu.load(), .done)
    }

    private static func log(_ context: UnsafeMutableRawPointer?) -> Log {
        Unmanaged<Log>.fromOpaque(context!).takeUnretainedValue()
    }

    deinit {
        vm.tearDown()
        XCTAssertEqual(vm.tablesAlive, 0)
        XCTAssertEqual(log.warnings, [])
        vm.destroyVCPUs()
        rcuBarrier()
        vm.free()
    }

    func addSlot(_ id: UInt16, base: UInt64, pages: UInt64, flags: UInt32 = 0) -> SlotError {
        vm.setSlot(SlotRequest(
            id: id, addressSpace: 0, base: GFN(base), pages: pages,
            userspaceAddress: (base << 12) + (1 << 40), flags: flags))
    }

    func fault(
        _ gfn: UInt64, pfn: UInt64? = nil, level: Level = .page4K, write: Bool = true, writable: Bool = true
    ) -> FaultResult {
        vm.lock.read { hold in
            Fault(
                vcpu: vcpu, FaultAccess(gfn << 12, errorCode: write ? 2 : 0), pfn: PFN(pfn ?? gfn),
                hostWritable: writable, hostLevel: level, prefetch: false).handle(hold)
        }!
    }

    // Each returns whether a flush is still owed, and pays none: what the log holds was paid inside.

    @discardableResult
    func zapRange(_ start: UInt64, _ end: UInt64) -> Bool {
        vm.lock.write { hold in vm.zapRange(start: GFN(start), end: GFN(end), &hold).handOver() }!
    }

    @discardableResult
    func zapLeafs(_ start: UInt64, _ end: UInt64) -> Bool {
        underWriteLock { hold, flush in vm.zapLeafs(start: GFN(start), end: GFN(end), &hold, owing: &flush) }
    }

    @discardableResult
    func unmap(_ start: UInt64, _ end: UInt64) -> Bool {
        underWriteLock { hold, flush in
            vm.unmapRange(
                addressSpace: 0, start: GFN(start), end: GFN(end), mayBlock: true, &hold, owing: &flush)
        }
    }

    func underWriteLock(_ body: (inout HeldForWrite, inout OwedFlush) -> Void) -> Bool {
        vm.lock.write { hold in
            var flush = OwedFlush()
            body(&hold, &flush)
            return flush.handOver()
        }!
    }

    /// A walk that stands on the entry of a level that covers gfn.
    func walk(to gfn: UInt64, level: Level = .page4K, _ rcu: borrowing InsideRCU) -> tdp_iter {
        var iter = tdp_iter(root: vcpu.root(rcu)!, minLevel: level, from: GFN(gfn), rcu)
        while iter.atLevel > level { iter.next(rcu) }
        return iter
    }

    /// gfn -> pfn and level of every leaf under the vCPU's root.
    var leaves: [UInt64: [UInt64]] {
        var result: [UInt64: [UInt64]] = [:]
        insideRCU { rcu in
            var iter = tdp_iter(root: vcpu.root(rcu)!, minLevel: .page4K, from: GFN(0), rcu)
            while iter.valid {
                if iter.isAtLeaf { result[iter.gfn] = [iter.old.pfn.raw, UInt64(iter.level)] }
                iter.next(rcu)
            }
        }
        return result
    }
}

extension SPTESlot {
    /// Writes behind the library's back, as a thread would that is in the middle of its own change.
    func poke(_ spte: SPTE) { UnsafeMutablePointer<UInt64>(bitPattern: address)!.pointee = spte.raw }
}

/// A small generator whose numbers a failing test can be run with again.
struct SplitMix {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
