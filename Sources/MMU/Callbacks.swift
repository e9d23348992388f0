// SPDX-License-Identifier: GPL-2.0-only
import CPlatform
import CTDPMMU
import PageTable
import Sync

/// The callbacks as the rig gave them.  Only this file looks inside.
package struct RigTable {
    fileprivate let ops: tdpmmu_ops
    fileprivate let context: UnsafeMutableRawPointer?

    package init(_ ops: tdpmmu_ops, context: UnsafeMutableRawPointer?) {
        self.ops = ops
        self.context = context
    }

    /// Does every event go to the rig?
    var traces: Bool { ops.trace != nil }

    /// In the word of events.
    var bitOfChanges: UInt64 { ops.spte_changed != nil ? rigBit : 0 }
}

/// What the host says of a guest page.
package struct HostPage {
    package let pfn: PFN
    package let writable: Bool
    package let level: Level
    /// A page below MAXPHYADDR, and no answer.
    let isPage: Bool

    @inline(__always)
    init(pfn: PFN, writable: Bool, level: Level, isPage: Bool = false) {
        self.pfn = pfn
        self.writable = writable
        self.level = level
        self.isPage = isPage
    }

    static let none = HostPage(pfn: .noSlot, writable: false, level: .page4K)
    static let unavailable = HostPage(pfn: .faultError, writable: false, level: .page4K)
}

/// The one way to the rig's callbacks: what goes out is what vm.h promises, and what comes
/// back is checked, once, here.  VMLock.pages, .vcpus and .recovery are never held: the
/// read-only functions take the first two, and every callback may call those.
package struct RigCallbacks {
    fileprivate let vm: VM

    @inline(__always) private var ops: tdpmmu_ops {
        @inline(__always) _read { yield vm.state.pointee.config.rig.ops }
    }

    @inline(__always) private var context: UnsafeMutableRawPointer? { vm.state.pointee.config.rig.context }

    /// Runs one of the callbacks, in which the VM may not be destroyed.
    @inline(__always)
    private func inCallback<T>(_ body: () -> T) -> T {
        let outer = cp_self().pointee.vm_called
        cp_self().pointee.vm_called = UnsafeRawPointer(vm.kvm)
        defer { cp_self().pointee.vm_called = outer }
        return body()
    }

    /// Does a callback of this VM run in this thread?
    package var isRunning: Bool { cp_self().pointee.vm_called == UnsafeRawPointer(vm.kvm) }

    // Questions --------------------------------------------------------------

    /// The host's page for a fault.  Inside kvm->srcu; may sleep.
    @inline(__always)
    func hostPage(of gfn: GFN, in slot: SlotPointer, isWrite: Bool, watched: Bool) -> HostPage {
        if watched { vm.see(.asksHost, gfn: gfn, pages: 1, slot: slot) }
        guard let callback = ops.gfn_to_pfn else { return frame(of: gfn, in: slot) }
        let mayWrite = !slot.isReadOnly
        var writable = mayWrite, level = Level.maxHuge.raw
        let pfn = PFN(inCallback { callback(context, vm.kvm, slot, gfn.raw, isWrite, &writable, &level) })
        guard pfn.raw <= vm.pfnMask, mayWrite || !writable, Level.isOfLeaf(level) else {
            return judge(pfn, writable, level, mayWrite: mayWrite, gfn)
        }
        return HostPage(pfn: pfn, writable: writable, level: Level(level), isPage: true)
    }

    /// The host's virtual frames stand in for physical ones, folded to fit.
    @inline(never)
    private func frame(of gfn: GFN, in slot: SlotPointer) -> HostPage {
        let frame = (slot.pointee.userspace_addr >> 12) &+ (gfn.raw &- slot.pointee.base_gfn)
        return HostPage(pfn: PFN(frame & vm.pfnMask), writable: !slot.isReadOnly, level: .maxHuge, isPage: true)
    }

    /// What gfn_to_pfn said, if it is no page, or not as it has to be.
    @inline(never)
    private func judge(_ pfn: PFN, _ writable: Bool, _ level: Int32, mayWrite: Bool, _ gfn: GFN) -> HostPage {
        if pfn.isAnswer { return HostPage(pfn: pfn, writable: false, level: .page4K) }
        guard pfn.raw <= vm.pfnMask else {
            refuse("gfn_to_pfn", "pfn is neither below MAXPHYADDR nor a KVM_PFN_ERR_* (pfn, gfn)", pfn.raw, gfn)
            return .unavailable
        }
        if writable && !mayWrite {
            refuse("gfn_to_pfn", "writable is set in a read-only slot (writable, gfn)", 1, gfn)
        }
        return HostPage(
            pfn: pfn, writable: writable && mayWrite,
            level: checkedLevel(level, "gfn_to_pfn", "max_level is not 1 to 3 (max_level, gfn)", gfn))
    }

    /// The largest level at which the host maps gfn in one piece.  mmu_lock for read, RCU.
    func mappingLevel(of gfn: GFN, in slot: SlotPointer) -> Level {
        guard let callback = ops.mapping_level else { return .maxHuge }
        return checkedLevel(
            inCallback { callback(context, vm.kvm, slot, gfn.raw) }, "mapping_level", "level is not 1 to 3 (level, gfn)", gfn)
    }

    /// Single pages are always right.
    private func checkedLevel(_ level: Int32, _ callback: StaticString, _ text: StaticString, _ gfn: GFN) -> Level {
        if Level.isOfLeaf(level) { return Level(level) }
        refuse(callback, text, UInt64(bitPattern: Int64(level)), gfn)
        return .page4K
    }

    @inline(never)
    private func refuse(_ callback: StaticString, _ text: StaticString, _ value: UInt64, _ gfn: GFN) {
        vm.warn(.argument, callback, text, value, gfn.raw)
    }

    /// Is the rig asked where a walk may yield?
    var areAskedToYield: Bool { ops.need_resched != nil || ops.yield_at != nil }

    var isToldOfChanges: Bool { ops.spte_changed != nil }

    /// Not inline, and of a copy: else the iterator would live in memory in every walk.
    @inline(never)
    func wantYield(at iter: tdp_iter) -> Bool {
        if let callback = ops.need_resched, inCallback({ callback(context, vm.kvm) }) { return true }
        return wantYieldHere(iter)
    }

    /// As above, where need_resched is not asked.
    @inline(never)
    func wantYieldHere(_ iter: tdp_iter) -> Bool {
        guard let callback = ops.yield_at else { return false }
        return inCallback { withUnsafePointer(to: iter) { callback(context, vm.kvm, $0) } }
    }

    // What happened ------------------------------------------------------------

    func flush(_ start: GFN, pages: UInt64) {
        if let callback = ops.flush_tlb { inCallback { callback(context, vm.kvm, start.raw, pages) } }
    }

    /// A vCPU is to do something before it runs on.
    func request(_ request: tdpmmu_request, of vcpu: OpaquePointer) {
        if let callback = ops.vcpu_request { inCallback { callback(context, vm.kvm, vcpu, request) } }
    }

    func changed(
        _ addressSpace: Int32, _ gfn: GFN, _ level: Level, _ old: SPTE, _ new: SPTE, shared: Bool
    ) {
        guard let callback = ops.spte_changed else { return }
        inCallback { callback(context, vm.kvm, addressSpace, gfn.raw, level.raw, old.raw, new.raw, shared) }
    }

    /// An operation stands in its middle with mmu_lock dropped.
    func yielded() {
        if let callback = ops.yielded { inCallback { callback(context, vm.kvm) } }
    }

    /// Under VMLock.slots.
    func committing(_ slot: SlotPointer?) {
        vm.see(.slotCommitting, slot: slot)
        if let callback = ops.slot_committing { inCallback { callback(context, vm.kvm, slot) } }
    }

    func happened(_ event: inout tdpmmu_trace_event) {
        if let callback = ops.trace { inCallback { callback(context, vm.kvm, &event) } }
    }

    /// False: the rig has no handler of the VM's own.
    func warned(_ warning: inout tdpmmu_warning) -> Bool {
        guard let handler = ops.warn else { return false }
        withoutCancellation { inCallback { handler(context, vm.kvm, &warning) } }  // as in Sync.warn
        return true
    }
}

extension VM {
    @inline(__always) package var rig: RigCallbacks { RigCallbacks(vm: self) }
}
