// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// Page faults as kvm_mmu_page_fault() is told of them, whichever vendor's handler does so.  VMX
/// prints the exit qualification of an EPT violation where SVM prints the error code, and
/// nothing for an EPT misconfiguration, by which MMIO shows.
struct KVMFaults {
    private let trace: Trace
    private let isRaw: Bool
    private let hasProbe: Bool
    private var lines: [TraceLine] = []
    /// By task: the vCPU that it runs.
    private var vcpus: [Int: Int] = [:]
    /// By vCPU: the kernel's pointer.
    private var pointers: [Int: UInt64] = [:]
    /// By task: index in `lines` of a violation whose handler has not called yet.
    private var violations: [Int: Int] = [:]
    /// By task: it is in a fault, or in something of userspace's.
    private var isInside: Set<Int> = []

    /// The trace with an error code in each kvm_page_fault, and one for each misconfiguration.
    static func translate(_ trace: Trace, _ vendor: Vendor) throws(BadInput) -> Trace {
        var faults = KVMFaults(trace, vendor)
        for index in trace.lines.indices { try faults.take(index) }
        if let open = faults.violations.values.min() {
            throw trace.badInput(faults.lines[open].number, "kvm_mmu_page_fault was not told of this line")
        }
        var translated = trace
        translated.lines = faults.lines
        return translated
    }

    private init(_ trace: Trace, _ vendor: Vendor) {
        self.trace = trace
        isRaw = vendor == .ept && trace.lines.contains {
            if case .pageFault(_, _, let code) = $0.event { Qualification.isSurelyOne(code) } else { false }
        }
        hasProbe = trace.lines.contains { if case .faultHandled = $0.event { true } else { false } }
    }

    private mutating func take(_ index: Int) throws(BadInput) {
        var line = trace.lines[index]
        switch line.event {
        case .step(let step): vcpus[line.task] = step.vcpu ?? vcpus[line.task]
        case .pageFault(let vcpu, let address, let code):
            vcpus[line.task] = vcpu
            isInside.insert(line.task)
            if isRaw { try translate(&line, vcpu, address, code) }
            if hasProbe { try open(line) }
        case .faultHandled(let pointer, let address, let code): return try handle(line, pointer, address, code)
        case .pageFaultReturn, .mmioHandled, .done: isInside.remove(line.task)
        case .iteratorStart where isRaw && !hasProbe: try addMisconfiguration(before: index)
        default: break
        }
        lines.append(line)
    }

    private func translate(_ line: inout TraceLine, _ vcpu: Int, _ address: UInt64, _ code: UInt64) throws(BadInput) {
        guard Qualification.canBeOne(code) else {
            throw trace.badInput(line.number, "0x\(hex(code)) is no exit qualification, as others here are")
        }
        line.event = .pageFault(vcpu: vcpu, address: address, errorCode: Qualification.errorCode(code))
    }

    /// kvm_mmu_page_fault() is called: for the violation before, or for a misconfiguration.
    private mutating func handle(_ line: TraceLine, _ pointer: UInt64, _ address: UInt64, _ code: UInt64)
        throws(BadInput)
    {
        if let violation = violations.removeValue(forKey: line.task) {
            try check(pointer, line)
            guard case .pageFault(_, address, code) = lines[violation].event else {
                throw trace.badInput(
                    line.number, "kvm_mmu_page_fault is told another fault than kvm_page_fault on line \(lines[violation].number)")
            }
            return
        }
        guard code & PageFaultBits.reserved != 0 else {
            throw trace.badInput(line.number, "kvm_mmu_page_fault without a kvm_page_fault")
        }
        guard let vcpu = vcpus[line.task] else { throw trace.badInput(line.number, "no vCPU runs here") }
        try check(pointer, line)
        isInside.insert(line.task)
        lines.append(TraceLine(number: line.number, task: line.task,
                               event: .pageFault(vcpu: vcpu, address: address, errorCode: code)))
    }

    /// A violation, of which kvm_mmu_page_fault() is told next.
    private mutating func open(_ line: TraceLine) throws(BadInput) {
        if let before = violations.updateValue(lines.count, forKey: line.task) {
            throw trace.badInput(line.number, "kvm_mmu_page_fault was not told of line \(lines[before].number)")
        }
    }

    /// The kernel's pointer stands for the vCPU that the task runs.
    private mutating func check(_ pointer: UInt64, _ line: TraceLine) throws(BadInput) {
        guard let vcpu = vcpus[line.task] else { return }
        guard pointers.updateValue(pointer, forKey: vcpu) ?? pointer == pointer else {
            throw trace.badInput(line.number, "vCPU \(vcpu) was known by another pointer than 0x\(hex(pointer))")
        }
    }

    /// Without that probe: a walk that looks for an MMIO SPTE, and no fault before it.
    private mutating func addMisconfiguration(before index: Int) throws(BadInput) {
        let line = trace.lines[index]
        guard !isInside.contains(line.task), case .iteratorStart(_, _, let gfn) = line.event,
            checksMMIO(behind: index), let vcpu = vcpus[line.task]
        else { return }
        isInside.insert(line.task)
        lines.append(TraceLine(number: line.number, task: line.task, event: .pageFault(
            vcpu: vcpu, address: gfn << Paging.pageShift, errorCode: PageFaultBits.reserved)))
    }

    private func checksMMIO(behind index: Int) -> Bool {
        let task = trace.lines[index].task
        for line in trace.lines[(index + 1)...].lazy.filter({ $0.task == task }).prefix(2) {
            if case .mmioChecked = line.event { return true }
        }
        return false
    }
}

/// The exit qualification of an EPT violation.
private enum Qualification {
    static let linearAddressIsValid: UInt64 = 1 << 7
    static let isOfTranslation: UInt64 = 1 << 8

    /// No error code has this bit.
    static func isSurelyOne(_ code: UInt64) -> Bool { code & linearAddressIsValid != 0 && canBeOne(code) }

    /// No qualification has a bit above 31.
    static func canBeOne(_ code: UInt64) -> Bool { code >> 32 == 0 }

    /// Read, write and fetch are bits 0 to 2; what the SPTEs allowed, 3 to 5.
    static func errorCode(_ code: UInt64) -> UInt64 {
        var result: UInt64 = 0
        if code & 1 != 0 { result |= PageFaultBits.user }
        if code & 2 != 0 { result |= PageFaultBits.write }
        if code & 4 != 0 { result |= PageFaultBits.fetch }
        if code & 0x38 != 0 { result |= PageFaultBits.present }
        if code & linearAddressIsValid != 0 {
            result |= code & isOfTranslation != 0 ? PageFaultBits.guestFinal : PageFaultBits.guestPage
        }
        return result
    }
}

extension Step {
    /// The vCPU that it makes run, or asks something of.
    fileprivate var vcpu: Int? {
        switch self {
        case .touch(let step): step.vcpu
        case .batch(let vcpu, _), .kick(let vcpu), .smiTouch(let vcpu, _), .run(let vcpu), .access(let vcpu, _),
             .prefault(let vcpu, _, _): vcpu
        default: nil
        }
    }
}
