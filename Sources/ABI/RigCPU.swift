// SPDX-License-Identifier: GPL-2.0-only
// rig_cpu.h
import CPlatform
import CTDPMMU
import MMU
import PageTable
import Rig

private let presentError: UInt64 = 1 << 0
let writeError: UInt64 = 1 << 1
private let userError: UInt64 = 1 << 2
private let reservedError: UInt64 = 1 << 3
let fetchError: UInt64 = 1 << 4
private let tablesError: UInt64 = 1 << 33

extension AccessResult {
    /// 0 where it did not fault.
    func errorCode(_ kind: UInt64, _ bits: HardwareBits) -> UInt64 {
        let access = kind & tablesError == 0 || bits.isEPT && bits.accessed == 0 ? kind : kind | writeError
        return switch end {
        case .faults: access | (isPresent ? presentError : 0)
        case .misconfigured: access | reservedError | presentError
        case .mustLoad: access
        case .done, .ringFull: 0
        }
    }

    var code: Int32 {
        switch end {
        case .done: level.raw
        case .ringFull: -ENOBUFS
        default: 0
        }
    }

    /// As the CPU tells it.
    fileprivate func fill(_ result: UnsafeMutablePointer<tdpmmu_cpu_result>, _ access: UInt64, _ bits: HardwareBits) {
        var filled = tdpmmu_cpu_result(
            level: level.raw, hit: isHit, pfn: pfn, spte: spte.raw, error_code: errorCode(access, bits), exit_reason: 0, exit_info: 0)
        let isOfTables = access & tablesError != 0
        switch end {
        case .faults where bits.isEPT:
            // Read, write, fetch; the AND of the rights; a linear address, and whether it was its page or a table of it.
            let kind: UInt64 = isOfTables ? bits.accessed != 0 ? 3 : 1
                : access & writeError != 0 ? 2 : access & fetchError != 0 ? 4 : 1
            filled.exit_reason = UInt32(TDPMMU_CPU_EXIT_VIOLATION)
            filled.exit_info = kind | UInt64(rights.rawValue) << 3 | 1 << 7 | (isOfTables ? 0 : 1 << 8)
        case .misconfigured where bits.isEPT: filled.exit_reason = UInt32(TDPMMU_CPU_EXIT_MISCONFIG)
        case .faults, .misconfigured:
            filled.exit_reason = UInt32(TDPMMU_CPU_EXIT_NPF)
            filled.exit_info = filled.error_code | userError | (isOfTables ? writeError : 1 << 32)
        default: break
        }
        result.pointee = filled
    }
}

/// The vCPU that is named, which has a root, with an address that may be `.max` if `all`.
@inline(never) @_optimize(size)
private func checked(_ contract: ContractFor<NothingAsked>, _ vcpu: OpaquePointer?, _ gpa: gpa_t, all: Bool) -> VCPU? {
    guard let vcpu = contract.vcpu(vcpu), let entry = contract.enter(vcpu.vm), all && gpa == .max || entry.isAddress(gpa)
    else { return nil }
    if vcpu.hasRoot { return vcpu }
    entry.refuse("the vCPU has no root")
    return nil
}

/// What a caller passes of an access.
@inline(never) @_optimize(size)
func checkedAccess(
    _ contract: ContractFor<NothingAsked>, _ vcpu: OpaquePointer?, _ gpa: gpa_t, _ access: UInt64
) -> (VCPU, Access)? {
    guard let vcpu = checked(contract, vcpu, gpa, all: false) else { return nil }
    guard access & ~(writeError | userError | fetchError) == 0 || access == tablesError else {
        contract.refuse("access has unknown bits (access)", vcpu.vm.kvm, access)
        return nil
    }
    return (vcpu, Access(write: access & writeError != 0, fetch: access & fetchError != 0, isOfTables: access == tablesError))
}

@c @implementation
public func tdpmmu_cpu_access_full(
    _ vcpu: OpaquePointer?, _ gpa: gpa_t, _ access: UInt64, _ result: UnsafeMutablePointer<tdpmmu_cpu_result>?
) -> Int32 {
    let contract = Contract.tdpmmu_cpu_access_full
    guard let (vcpu, wish) = checkedAccess(contract, vcpu, gpa, access) else { return .invalid }
    guard let result else {
        contract.refuse("result is NULL", in: vcpu.vm.kvm)
        return .invalid
    }
    let came = vcpu.access(GFN(gpa >> 12), wish)
    if came.end != .ringFull { came.fill(result, access, vcpu.vm.hardwareBits) }
    return came.code
}

// The CPUs -----------------------------------------------------------------

/// What is wrong with a configuration, or nil.
@_optimize(size)
private func refusal(_ config: tdpmmu_cpus_config) -> (StaticString, UInt64)? {
    let flags = config.flags
    if config.size != MemoryLayout<tdpmmu_cpus_config>.size {
        return ("config has a bad size (size)", UInt64(UInt(bitPattern: config.size)))
    }
    if flags & ~CPUBehaviour.all.rawValue != 0 || (flags & 0x54) << 1 & flags != 0 {
        return ("flags are unknown or contradict each other (flags)", UInt64(flags))
    }
    if config.cpus > 256 { return ("cpus is above 256 (cpus)", UInt64(config.cpus)) }
    if config.translations != 0 && !(16...65536).contains(config.translations) {
        return ("translations is not 16 to 65536 (translations)", UInt64(config.translations))
    }
    return nil
}

@c @implementation
public func tdpmmu_cpus_attach(
    _ kvm: UnsafeMutablePointer<kvm>?, _ config: UnsafePointer<tdpmmu_cpus_config>?
) -> Int32 {
    guard let entry = Contract.tdpmmu_cpus_attach.enter(kvm) else { return .invalid }
    guard let config = config?.pointee else {
        entry.refuse("config is NULL")
        return .invalid
    }
    if let (text, value) = refusal(config) {
        entry.refuse(text, value)
        return .invalid
    }
    let function = config.report.map { unsafeBitCast($0, to: UInt.self) } ?? 0
    guard let set = CPUSet.make(
        entry.vm, CPUBehaviour(rawValue: config.flags), count: config.cpus == 0 ? 8 : Int(config.cpus),
        translations: config.translations == 0 ? 2048 : Int(config.translations), seed: config.seed, checkEvery: config.check_every, sendReport,
        function, config.ctx) else { return -ENOMEM }
    let attached = CPUSet.attach(set, to: entry.vm)
    if attached == .done { return 0 }
    cp_free_zeroed(set)
    if attached == .noMemory { return -ENOMEM }
    entry.refuse("CPUs are attached already")
    return .busy
}

@c @implementation
public func tdpmmu_cpus_detach(_ kvm: UnsafeMutablePointer<kvm>?) -> Int32 {
    guard let entry = Contract.tdpmmu_cpus_detach.enter(kvm) else { return .invalid }
    guard let set = CPUSet.of(entry.vm) else {
        entry.refuse("no CPUs are attached")
        return .invalid
    }
    let reports = set.reports
    _ = CPUSet.detach(from: entry.vm)
    return reports
}

private let sendReport: ReportCPU = { memory, report in
    let set = memory.assumingMemoryBound(to: CPUSet.self), told = report.assumingMemoryBound(to: CPUReport.self).pointee
    guard set.pointee.reportFunction != 0, let vcpu = told.vcpu else { return }
    typealias Report = @convention(c) (
        UnsafeMutableRawPointer?, UnsafeMutablePointer<kvm>?, UnsafePointer<tdpmmu_cpu_report>?) -> Void
    let name = { (word: UInt) in UnsafePointer<CChar>(bitPattern: word) }
    var sent = tdpmmu_cpu_report(
        size: MemoryLayout<tdpmmu_cpu_report>.size,
        text: name(told.text.address), vcpu: vcpu, gfn: told.gfn.raw,
        npages: told.cached?.pages ?? 0, level: told.cached?.level.raw ?? told.level.raw, present_level: told.level.raw,
        cached_spte: told.cached?.spte.raw ?? 0, present_spte: told.present.raw, operation: name(told.operation),
        filled_by: name(told.cached?.filledBy ?? 0), filled_at: told.cached?.filledAt ?? 0)
    unsafeBitCast(set.pointee.reportFunction, to: Report.self)(set.pointee.reportContext, VCPU(vcpu).vm.kvm, &sent)
}

extension ContractFor where Proof == NothingAsked {
    /// The CPU of a vCPU that has a root, and CPUs.
    @inline(never) @_optimize(size)
    fileprivate func cpu(_ vcpu: OpaquePointer?, _ gpa: gpa_t) -> (UnsafeMutablePointer<CPUSet>, CPU, VCPU)? {
        guard let vcpu = checked(self, vcpu, gpa, all: true) else { return nil }
        guard let set = CPUSet.of(vcpu.vm), let cpu = set.cpuWithRoot(vcpu) else {
            refuse("no CPUs are attached, or fewer than vCPUs have roots", in: vcpu.vm.kvm)
            return nil
        }
        return (set, cpu, vcpu)
    }
}

@c @implementation
public func tdpmmu_cpu_fill(_ vcpu: OpaquePointer?, _ gpa: gpa_t) -> Int32 {
    guard let (set, cpu, _) = Contract.tdpmmu_cpu_fill.cpu(vcpu, gpa) else { return .invalid }
    return set.fill(cpu, GFN(gpa >> 12), wholeWay: true)?.raw ?? 0
}

@c @implementation
public func tdpmmu_cpu_drop(_ vcpu: OpaquePointer?, _ gpa: gpa_t) -> Int32 {
    guard let (_, cpu, _) = Contract.tdpmmu_cpu_drop.cpu(vcpu, gpa) else { return .invalid }
    let gfn = GFN(gpa >> 12)
    return Int32(truncatingIfNeeded: gpa == .max ? cpu.drop(GFN(0), GFN(.max), asked: false)
        : cpu.drop(gfn, gfn + 1, asked: false))
}

@c @implementation
public func tdpmmu_cpu_cached(
    _ vcpu: OpaquePointer?, _ gpa: gpa_t, _ result: UnsafeMutablePointer<tdpmmu_cpu_result>?
) -> Int32 {
    let contract = Contract.tdpmmu_cpu_cached
    guard let (_, cpu, driven) = contract.cpu(vcpu, gpa) else { return .invalid }
    guard let result else {
        contract.refuse("result is NULL", in: driven.vm.kvm)
        return .invalid
    }
    let gfn = GFN(gpa >> 12)
    guard let hit = cpu.hit(gfn) else { return 0 }
    hit.fill(result, 0, driven.vm.hardwareBits)
    return hit.level.raw
}
