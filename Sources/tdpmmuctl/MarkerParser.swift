// SPDX-License-Identifier: GPL-2.0-only

/// Markers that the recorder wrote into the trace: STEP, DONE, EXIT, DATA, INFO.
enum MarkerParser {
    /// More accesses in one step than any guest makes; a garbled count must not
    /// keep the replay busy for ever.
    static let mostAccesses = 1 << 20

    static func parse(_ text: inout ByteCursor) -> TraceEvent? {
        guard text.isTextToTheEnd else { return nil }
        if text.skip("STEP ") { return step(&text) }
        if text.skip("DONE ") { return done(&text) }
        if text.skip("EXIT ") { return exit(&text) }
        if text.skip("INFO guest_cpuid_80000008") { return guestCPUID(&text) }
        guard text.skip("DATA ") || text.skip("INFO ") else { return nil }
        return text.toEnd(.note)
    }

    private static func step(_ text: inout ByteCursor) -> TraceEvent? {
        let name = text.word(until: .space)
        if OperationTable.unsupportedSteps.contains(name) { return text.toEnd(.unsupported(name)) }
        if OperationTable.otherSteps.contains(name) { return text.toEnd(.step(.other(name))) }
        guard let fields = MarkerFields(&text) else { return nil }
        if OperationTable.memslotSteps.contains(name) {
            return memslot(name, fields).map { .step(.memslot($0)) }
        }
        return runStep(name, fields).map { .step($0) }
    }

    private static func runStep(_ name: String, _ fields: MarkerFields) -> Step? {
        switch name {
        case "vm_create": createVM(fields)
        case "vcpu_create": fields.integer("vcpu").map { .createVCPU($0) }
        case "touch": touch(fields).map { .touch($0) }
        case "batch": batch(fields)
        case "kick": fields.integer("vcpu").map { .kick(vcpu: $0) }
        case "prefault": fields.integer("vcpu").map { .prefault(vcpu: $0) }
        case "dump": dump(fields)
        case "parallel_begin": .parallel
        default: nil
        }
    }

    private static func done(_ text: inout ByteCursor) -> TraceEvent? {
        let name = text.word(until: .space)
        if OperationTable.otherSteps.contains(name) || OperationTable.unsupportedSteps.contains(name) {
            return text.toEnd(.done(Done(operation: name, result: 0, entries: nil)))
        }
        guard OperationTable.memslotSteps.contains(name) || runSteps.contains(name),
            let fields = MarkerFields(&text)
        else { return nil }
        if fields.text("ret") == nil {
            return .done(Done(operation: name, result: 0, entries: fields.integer("n")))
        }
        guard let result = fields.signed("ret") else { return nil }
        return .done(Done(operation: name, result: result, entries: fields.integer("n")))
    }

    /// The steps that runStep() knows.
    private static let runSteps: Set<String> = [
        "vm_create", "vcpu_create", "touch", "batch", "kick", "prefault", "dump", "parallel_begin",
    ]

    private static func exit(_ text: inout ByteCursor) -> TraceEvent? {
        guard text.skip("mmio") else { return text.toEnd(.note) }
        guard let fields = MarkerFields(&text), let vcpu = fields.integer("vcpu"),
            let gpa = fields.number("phys")
        else { return nil }
        return .mmioExit(vcpu: vcpu, gpa: gpa)
    }

    private static func guestCPUID(_ text: inout ByteCursor) -> TraceEvent? {
        MarkerFields(&text)?.number("eax").map { .guestCPUID(eax: $0) }
    }
}

/// One kind of step each.
extension MarkerParser {
    private static func createVM(_ fields: MarkerFields) -> Step? {
        guard let vcpus = fields.integer("nvcpus"), let mode = fields.text("mode"),
            mode == "prot32" || mode == "long"
        else { return nil }
        return .createVM(vcpus: vcpus, longMode: mode == "long")
    }

    private static func memslot(_ name: String, _ fields: MarkerFields) -> MemslotStep? {
        guard let slot = fields.integer("slot"), slot < 1 << 16,
            let addressSpace = fields.integer("as_id"), addressSpace < 1 << 16,
            let gpa = fields.number("gpa"), let pages = fields.number("npages"),
            let hva = fields.number("hva"), let flags = fields.number("flags"),
            let flags32 = UInt32(exactly: flags)
        else { return nil }
        return MemslotStep(
            operation: name, slot: slot, addressSpace: addressSpace, gpa: gpa, pages: pages,
            hva: hva, flags: flags32)
    }

    private static func touch(_ fields: MarkerFields) -> TouchStep? {
        guard let vcpu = fields.integer("vcpu"), let gpa = fields.number("gpa"),
            let count = fields.integer("n"), count <= mostAccesses,
            let stride = fields.number("stride"),
            let operation = fields.text("op"), let access = access(operation)
        else { return nil }
        return TouchStep(vcpu: vcpu, gpa: gpa, count: count, stride: stride, access: access)
    }

    private static func access(_ operation: String) -> UInt64? {
        switch operation {
        case "r": 0
        case "w", "rmw": PageFaultBits.write
        case "x": PageFaultBits.fetch
        default: nil
        }
    }

    /// list=GPA:r,GPA:w,… with hexadecimal addresses.
    private static func batch(_ fields: MarkerFields) -> Step? {
        guard let vcpu = fields.integer("vcpu"), let count = fields.integer("n"),
            var list = fields.cursor("list")
        else { return nil }
        var accesses: [GuestAccess] = []
        repeat {
            guard let gpa = list.hex(), list.skip(":"), accesses.count < mostAccesses else { return nil }
            let operation = list.word(until: UInt8(ascii: ","))
            guard let access = access(operation) else { return nil }
            accesses.append(GuestAccess(gpa: gpa, access: access))
        } while list.skip(",")
        guard list.isAtEnd, accesses.count == count else { return nil }
        return .batch(vcpu: vcpu, accesses: accesses)
    }

    private static func dump(_ fields: MarkerFields) -> Step? {
        guard let id = fields.integer("id"), let root = fields.number("root"),
            let level = fields.integer("root_level")
        else { return nil }
        return .dump(id: id, root: root, rootLevel: level)
    }
}
