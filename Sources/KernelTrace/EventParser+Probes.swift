// SPDX-License-Identifier: GPL-2.0-only

/// The probes on the TDP MMU's functions.
extension EventParser {
    static let map: Parser = { text in
        guard text.skipPlace(), text.skip(" vcpu="), let vcpu = text.prefixedHex(),
            text.skip(" addr="), let address = text.prefixedHex(),
            text.skip(" ec="), let errorCode = text.prefixedHex(),
            text.skip(" prefetch="), let prefetch = text.flag(),
            text.skip(" exec="), let execute = text.flag(),
            text.skip(" write="), let write = text.flag(),
            text.skip(" present="), let present = text.flag(),
            text.skip(" nxwa="), let noHugeFetch = text.flag(),
            text.skip(" gfn="), let gfn = text.prefixedHex(),
            text.skip(" pfn="), let pfn = text.prefixedHex(),
            text.skip(" map_writable="), let writable = text.flag(),
            text.skip(" slot="), text.prefixedHex() != nil
        else { return nil }
        return .map(
            MapCall(
                vcpuPointer: vcpu, address: address, errorCode: errorCode, prefetch: prefetch,
                execute: execute, write: write, present: present, noHugeFetch: noHugeFetch,
                gfn: gfn, pfn: pfn, mapWritable: writable))
    }

    static let faultHandled: Parser = { text in
        guard text.skipPlace(), text.skip(" vcpu="), let vcpu = text.prefixedHex(),
            text.skip(" addr="), let address = text.prefixedHex(),
            text.skip(" ec="), let errorCode = text.prefixedHex()
        else { return nil }
        return .faultHandled(vcpuPointer: vcpu, address: address, errorCode: errorCode)
    }

    static let allocRoot: Parser = { text in
        guard text.skipPlace(), text.skip(" vcpu="), let vcpu = text.prefixedHex() else { return nil }
        return .allocRoot(vcpuPointer: vcpu)
    }

    static let guestLeft: Parser = { text in
        guard text.skipPlace(), text.skip(" vcpu="), let vcpu = text.prefixedHex() else { return nil }
        return .guestLeft(vcpuPointer: vcpu)
    }

    static let loadRoot: Parser = { text in
        let vendor = text.vendorOfPlace
        guard text.skipPlace(), text.skip(" vcpu="), let vcpu = text.prefixedHex(),
            text.skip(" root_hpa="), let root = text.prefixedHex(),
            text.skip(" root_level="), let level = text.integer()
        else { return nil }
        return .loadRoot(vcpuPointer: vcpu, root: root, level: level, vendor: vendor)
    }

    static let iteratorStart: Parser = { text in
        guard let root = text.recordedRoot(), text.skip(" min_level="), let level = text.integer(),
            text.skip(" gfn="), let gfn = text.prefixedHex()
        else { return nil }
        return .iteratorStart(root, minLevel: level, gfn: gfn)
    }

    static let iteratorRestart: Parser = { text in
        guard text.skipPlace(), text.skip(" next_gfn="), let next = text.prefixedHex(),
            text.skip(" yielded_gfn="), let yielded = text.prefixedHex()
        else { return nil }
        return .iteratorRestart(next: next, yielded: yielded)
    }

    static let unmap: Parser = { text in
        guard let (start, end, flush) = text.range() else { return nil }
        return .unmap(start: start, end: end, flush: flush)
    }

    static let zapLeafs: Parser = { text in
        guard let (start, end, flush) = text.range() else { return nil }
        return .zapLeafs(start: start, end: end, flush: flush)
    }

    static let zapLeafsOfRoot: Parser = { text in
        guard let root = text.recordedRoot(), text.skip(" start="), let start = text.prefixedHex(),
            text.skip(" end="), let end = text.prefixedHex(),
            text.skip(" can_yield="), text.flag() != nil, text.skip(" flush="), text.flag() != nil
        else { return nil }
        return .zapLeafsOfRoot(root, start: start, end: end)
    }
}

/// Dirty logging, huge pages.
extension EventParser {
    static let writeProtectSlot: Parser = { text in
        guard let slot = text.recordedSlot(), text.skip(" min_level="), let level = text.integer()
        else { return nil }
        return .writeProtectSlot(slot, minLevel: level)
    }

    static let clearDirtyMasked: Parser = { text in
        guard text.skipPlace(), text.skip(" gfn="), let gfn = text.prefixedHex(),
            text.skip(" mask="), let mask = text.prefixedHex(), text.skip(" wrprot="), let flag = text.flag()
        else { return nil }
        return .clearDirtyMasked(gfn: gfn, mask: mask, writeProtect: flag)
    }

    static let writeProtect: Parser = { text in
        guard text.skipPlace(), text.skip(" gfn="), let gfn = text.prefixedHex(),
            text.skip(" min_level="), let level = text.integer()
        else { return nil }
        return .writeProtect(gfn: gfn, minLevel: level)
    }

    static let split: Parser = { text in
        guard let (start, end) = text.gfns(), text.skip(" target="), let target = text.integer(),
            text.skip(" shared="), let shared = text.flag()
        else { return nil }
        return .split(SplitCall(start: start, end: end, target: target, shared: shared))
    }

    static let zapTable: Parser = { text in
        guard text.skipPlace(), text.skip(" sp="), text.prefixedHex() != nil,
            text.skip(" spt="), let table = text.prefixedHex(), text.skip(" gfn="), let gfn = text.prefixedHex()
        else { return nil }
        return .zapTable(table: table, gfn: gfn)
    }
}
