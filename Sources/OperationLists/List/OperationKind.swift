// SPDX-License-Identifier: GPL-2.0-only

/// An operation by its word in a list; docs/LISTS.md says what each does.
package enum OperationKind: String, CaseIterable {
    case slot, slotflags, delslot, moveslot, hostlevel
    case vcpu, load, unload, smm
    case fault, mapcall, fastpf, hw, exit, prefault, walk
    case zapleafs, unmap, zapsp, zapall, zapfast, invalidate, zapinvalid
    case wrprot, wrprotgfn, cleardirty, cleardirtymask, age, testage, split, collapse
    case dirty, clearlog, markdirty, harvest, resetring
    case invalbegin, invalend, young, testyoung
    case nx, recover, eager, logmode
    case yield, barrier, stats

    /// The arguments; those from `required` on may be left out.
    var signature: (parameters: [Parameter], required: Int) {
        switch self {
        case .slot: ([.slot, .space, .gfn, .pages, .pfn, .flags], 5)
        case .slotflags: ([.slot, .flags], 2)
        case .moveslot, .wrprotgfn, .testyoung: ([.slot, .gfn] + (self == .wrprotgfn ? [.level] : []), 2)
        case .hostlevel: ([.slot, .frame, .level], 3)
        case .vcpu, .smm: ([.vcpu, .space], self == .vcpu ? 1 : 2)
        case .load, .unload, .exit, .harvest: ([.vcpu], 1)
        case .fault: ([.vcpu, .gfn, .access, .level], 3)
        case .mapcall: ([.vcpu, .gfn, .errorCode, .flag, .level, .pfn, .flag], 6)
        case .fastpf: ([.vcpu, .gfn, .access], 3)
        case .hw: ([.vcpu, .gfn, .access, .accesses], 3)
        case .prefault: ([.vcpu, .gfn, .pages], 3)
        case .walk: ([.vcpu, .gfn], 2)
        case .zapleafs: ([.gfn, .gfn], 2)
        case .unmap, .age, .testage: ([.slot, .gfn, .gfn], 1)
        case .split: ([.slot, .gfn, .gfn, .level, .flag], 1)
        case .zapsp: ([.vcpu, .gfn, .level], 3)
        case .wrprot: ([.slot, .level], 1)
        case .delslot, .cleardirty, .collapse, .dirty: ([.slot], 1)
        case .cleardirtymask: ([.slot, .gfn, .mask, .flag], 4)
        case .clearlog: ([.slot, .pages, .pages, .mask], 3)
        case .markdirty: ([.space, .gfn], 2)
        case .invalbegin: ([.slot, .gfn, .gfn], 3)
        case .young: ([.slot, .gfn, .gfn, .flag], 3)
        case .nx, .eager: ([.flag], 1)
        case .recover, .logmode, .yield: ([.count], 1)
        case .zapall, .zapfast, .invalidate, .zapinvalid, .resetring, .invalend, .barrier, .stats: ([], 0)
        }
    }

    /// Its first argument is a vCPU or a slot that another operation has made.
    var needs: Parameter? {
        guard self != .vcpu, self != .slot, let first = signature.parameters.first else { return nil }
        switch first {
        case .vcpu, .slot: return first
        default: return nil
        }
    }

    /// May it be made while another operation has let go of mmu_lock in its middle?  Not what
    /// changes slots or the whole VM, or would wait for the one in whose middle it is.
    var fitsInBetween: Bool {
        switch self {
        case .fault, .mapcall, .fastpf, .hw, .walk, .zapleafs, .unmap, .zapsp, .wrprotgfn, .cleardirtymask, .age, .testage,
            .young, .testyoung: true
        default: false
        }
    }
}
