// SPDX-License-Identifier: GPL-2.0-only

/// One KVM_SET_USER_MEMORY_REGION.
struct MemslotStep: Equatable {
    var operation: String
    var slot: Int
    var addressSpace: Int
    var gpa: UInt64
    var pages: UInt64
    var hva: UInt64
    var flags: UInt32
}

/// One guest access: where, and as which kind of access the CPU sees it.
struct GuestAccess: Equatable {
    var gpa: UInt64
    var access: UInt64 // PFERR_WRITE_MASK, PFERR_FETCH_MASK or 0
}

/// n accesses at gpa, gpa + stride, …
struct TouchStep: Equatable {
    var vcpu: Int
    var gpa: UInt64
    var count: Int
    var stride: UInt64
    var access: UInt64
}

/// mmap() of memory for slots.
struct HostMapStep: Equatable {
    var hva: UInt64
    var length: UInt64
    var kind: String
    var isPopulated: Bool
}

/// Something that userspace does to its own memory.
struct HostChangeStep: Equatable {
    var operation: String
    var hva: UInt64
    var length: UInt64
}

/// Pages of a slot, by offset: what a dirty log held ("DATA dirty"), or what is to be
/// cleared in one ("DATA clear").  They come in parts; a line with their number ends them.
struct PageList: Equatable {
    var isToClear: Bool
    var slot: UInt32 // address space in bits 31:16, as the ioctls take it
    var ranges: [ClosedRange<UInt64>] = []
    var total: UInt64?
}

/// An entry of a dirty ring.
struct RingEntry: Equatable {
    var slot: UInt32
    var offset: UInt64
}

/// "STEP …": what userspace is about to do.
enum Step: Equatable {
    case createVM(vcpus: Int, longMode: Bool)
    case createVCPU(Int)
    case memslot(MemslotStep)
    case touch(TouchStep)
    case batch(vcpu: Int, accesses: [GuestAccess])
    case kick(vcpu: Int)
    case prefault(vcpu: Int, gpa: UInt64, length: UInt64)
    case dump(id: Int, root: UInt64, rootLevel: Int)
    case parallel
    case enableCapability(name: String, argument: UInt64)
    case parameter(name: String, value: String)
    case getDirtyLog(slot: UInt32)
    case clearDirtyLog(slot: UInt32, first: UInt64, count: UInt64)
    case resetDirtyRings(harvested: UInt64?)
    case smiTouch(vcpu: Int, GuestAccess)
    case hostMap(HostMapStep)
    case hostChange(HostChangeStep)
    /// Something that reaches the TDP MMU only through calls that are recorded.
    case other(String)
}

/// "DONE …": what it came to.
struct Done: Equatable {
    var operation: String
    var result: Int
    /// Number of entries, of a dump.
    var entries: Int?
    /// Of a host_map: how much of it the host mapped huge at once.
    var hugeKilobytes: UInt64?
    /// Of a prefault: where it stopped.
    var leftAt: UInt64?
}

/// key=value pairs of a marker.
struct MarkerFields {
    private var pairs: [(key: String, value: ByteCursor)] = []

    /// nil unless the rest of the text is blank-separated key=value pairs.
    init?(_ cursor: inout ByteCursor) {
        cursor.skipBlanks()
        while !cursor.isAtEnd {
            var word = cursor
            _ = cursor.word(until: .space)
            let key = word.word(until: UInt8(ascii: "="))
            guard word.skip("="), word.position <= cursor.position else { return nil }
            pairs.append((key, word.cut(at: cursor.position)))
            cursor.skipBlanks()
        }
    }

    /// The first pair, of a marker whose key is what it is about.
    var first: (key: String, value: String)? {
        pairs.first.map { ($0.key, $0.value.rest) }
    }

    func cursor(_ key: String) -> ByteCursor? {
        pairs.first { $0.key == key }?.value
    }

    func text(_ key: String) -> String? {
        cursor(key)?.rest
    }

    /// A number, decimal or with 0x, that is all of the value.
    func number(_ key: String) -> UInt64? {
        guard var value = cursor(key), let number = value.number(), value.isAtEnd else { return nil }
        return number
    }

    func integer(_ key: String) -> Int? {
        number(key).flatMap { Int(exactly: $0) }
    }

    func signed(_ key: String) -> Int? {
        guard var value = cursor(key), let number = value.signed(), value.isAtEnd else { return nil }
        return number
    }
}

extension ByteCursor {
    /// The same text, but ending at `stop`.
    func cut(at stop: Int) -> ByteCursor {
        var copy = self
        copy.limit(to: stop)
        return copy
    }
}
