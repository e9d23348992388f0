// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// A call of the TDP MMU, with all that the trace tells about it.
struct Operation {
    enum Kind: String {
        case map = "map"
        case unmap = "unmap_gfn_range"
        case zapLeafs = "kvm_zap_leafs"
        case loadRoot = "alloc_root"
        case memslot = "memslot step"
        case zapAll = "zap_all"
        case zapAllFast = "kvm_mmu_zap_all_fast"
        case uninit = "zap_invalidated_roots"
        case age = "age"
        case testAge = "test_age"
        case writeProtectSlot = "wrprot_slot"
        case clearDirtySlot = "clear_dirty_slot"
        case clearDirtyMasked = "clear_dirty_pt_masked"
        case writeProtect = "write_protect_gfn"
        case split = "split"
        case zapCollapsible = "zap_collapsible"
        case zapTable = "zap_sp"
        case parameter = "param step"
        case getDirtyLog = "get_dirty_log step"
        case clearDirtyLog = "clear_dirty_log step"
        case resetDirtyRings = "reset_dirty_rings step"
        // Of the guest mode.
        case fault = "page fault"
        case prefault = "prefault step"
        case hostUnmap = "memory notifier"
        case hostAge = "aging by the host"
        case hostTestAge = "the host's look for use"

        /// One thing that userspace asks for, from STEP to DONE.  The calls in between
        /// are its parts, which the library makes by itself.
        var isStep: Bool {
            switch self {
            case .memslot, .parameter, .getDirtyLog, .clearDirtyLog, .resetDirtyRings, .prefault: true
            default: false
            }
        }
    }

    var kind: Kind
    /// Indices into the trace's lines.
    var begin: Int
    var end: Int
    var changes: [Int] = []
    var details: [Int] = []
}

extension Operation {
    /// Lines at which a walk goes on after it has given way: the others begin one.
    func yields(_ trace: Trace) -> [Int] {
        var starts = false
        return details.filter { line in
            switch trace.lines[line].event {
            case .iteratorStart: starts = true
            case .iteratorRestart:
                defer { starts = false }
                return !starts
            default: break
            }
            return false
        }
    }

    /// What the TDP MMU was asked to map, if it was.
    func mapCall(_ trace: Trace) -> MapCall? {
        for index in [begin] + details {
            if case .map(let call) = trace.lines[index].event { return call }
        }
        return nil
    }

    /// Of a harvest of the dirty log: lines at which a word's bits are cleared.
    func words(_ trace: Trace) -> [Int] {
        details.filter { if case .clearDirtyMasked = trace.lines[$0].event { true } else { false } }
    }

    /// The slots lock.
    var takesSlots: Bool { kind.isStep && kind != .prefault }
}
