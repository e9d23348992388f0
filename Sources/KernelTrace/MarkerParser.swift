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
        if let event = machineInfo(&text) { return event }
        if text.skip("DATA ") { return DataParser.parse(&text) }
        guard text.skip("INFO ") else { return nil }
        return text.toEnd(.note)
    }

    private static func step(_ text: inout ByteCursor) -> TraceEvent? {
        let name = text.word(until: .space)
        if OperationTable.otherSteps.contains(name) { return text.toEnd(.step(.other(name))) }
        guard let fields = MarkerFields(&text) else { return nil }
        if OperationTable.memslotSteps.contains(name) {
            return memslot(name, fields).map { .step(.memslot($0)) }
        }
        if OperationTable.hostSteps.contains(name) {
            return hostChange(name, fields).map { .step(.hostChange($0)) }
        }
        return stepParsers[name].flatMap { $0(fields) }.map { .step($0) }
    }

    private static let stepParsers: [String: @Sendable (MarkerFields) -> Step?] = [
        "vm_create": createVM,
        "vcpu_create": { $0.integer("vcpu").map { .createVCPU($0) } },
        "touch": { touch($0).map { .touch($0) } },
        "batch": batch,
        "kick": { $0.integer("vcpu").map { .kick(vcpu: $0) } },
        "smi_touch": smiTouch,
        "run": { $0.integer("vcpu").map { .run(vcpu: $0) } },
        "access": oneAccess,
        "prefault": prefault,
        "dump": dump,
        "parallel_begin": { _ in .parallel },
        "enable_cap": enableCapability,
        "param": { $0.first.map { .parameter(name: $0.key, value: $0.value) } },
        "get_dirty_log": { $0.slot.map { .getDirtyLog(slot: $0) } },
        "clear_dirty_log": clearDirtyLog,
        "reset_dirty_rings": { .resetDirtyRings(harvested: $0.number("harvested")) },
        "host_map": hostMap,
    ]

    private static func done(_ text: inout ByteCursor) -> TraceEvent? {
        let name = text.word(until: .space)
        if OperationTable.otherSteps.contains(name) {
            return text.toEnd(.done(Done(operation: name, result: 0, entries: nil)))
        }
        guard OperationTable.memslotSteps.contains(name) || OperationTable.hostSteps.contains(name)
                || stepParsers[name] != nil
        else { return nil }
        // The name of what was switched stands alone here.
        if name == "param" {
            text.skipBlanks()
            _ = text.word(until: .space)
        }
        guard let fields = MarkerFields(&text) else { return nil }
        var done = Done(operation: name, result: 0, entries: fields.integer("n"),
                        hugeKilobytes: fields.number("anon_huge_kb"), leftAt: fields.number("left_gpa"))
        if fields.text("ret") != nil {
            guard let result = fields.signed("ret") else { return nil }
            done.result = result
        }
        return .done(done)
    }

    private static func exit(_ text: inout ByteCursor) -> TraceEvent? {
        guard text.skip("mmio") else { return text.toEnd(.note) }
        guard let fields = MarkerFields(&text), let vcpu = fields.integer("vcpu"),
            let gpa = fields.number("phys")
        else { return nil }
        return .mmioExit(vcpu: vcpu, gpa: gpa)
    }

    /// "INFO vendor= …": any that names one of those facts.
    private static func machineInfo(_ text: inout ByteCursor) -> TraceEvent? {
        var copy = text
        guard copy.skip("INFO ") else { return nil }
        let keys = copy.rest.split(separator: " ").map { $0.prefix { $0 != "=" } }
        guard keys.contains(where: { MachineInfo.keys.contains(String($0)) }) else { return nil }
        let fields = MarkerFields(&copy)
        while copy.next() != nil {}
        text = copy
        return .machineInfo(MachineInfo(fields?.all))
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

    private static func clearDirtyLog(_ fields: MarkerFields) -> Step? {
        guard let slot = fields.slot, let first = fields.number("first"), let count = fields.number("n")
        else { return nil }
        return .clearDirtyLog(slot: slot, first: first, count: count)
    }

    private static func enableCapability(_ fields: MarkerFields) -> Step? {
        guard let name = fields.text("cap"), let argument = fields.number("arg0") else { return nil }
        return .enableCapability(name: name, argument: argument)
    }

    private static func prefault(_ fields: MarkerFields) -> Step? {
        guard let vcpu = fields.integer("vcpu"), let gpa = fields.number("gpa"), let length = fields.number("len")
        else { return nil }
        return .prefault(vcpu: vcpu, gpa: gpa, length: length)
    }

    private static func hostMap(_ fields: MarkerFields) -> Step? {
        guard let hva = fields.number("hva"), let length = fields.number("len"), let kind = fields.text("kind")
        else { return nil }
        return .hostMap(HostMapStep(hva: hva, length: length, kind: kind,
                                    isPopulated: fields.number("populate") == 1))
    }

    private static func hostChange(_ name: String, _ fields: MarkerFields) -> HostChangeStep? {
        guard let hva = fields.number("hva"), let length = fields.number("len") else { return nil }
        return HostChangeStep(operation: name, hva: hva, length: length)
    }

    /// One access in SMM.
    private static func smiTouch(_ fields: MarkerFields) -> Step? {
        guard let vcpu = fields.integer("vcpu"), let gpa = fields.number("gpa"),
            let write = fields.number("write")
        else { return nil }
        return .smiTouch(vcpu: vcpu, GuestAccess(gpa: gpa, access: write != 0 ? PageFaultBits.write : 0))
    }

    private static func oneAccess(_ fields: MarkerFields) -> Step? {
        guard let vcpu = fields.integer("vcpu"), let gpa = fields.number("gpa"),
            let operation = fields.text("op"), let access = access(operation)
        else { return nil }
        return .access(vcpu: vcpu, GuestAccess(gpa: gpa, access: access))
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
