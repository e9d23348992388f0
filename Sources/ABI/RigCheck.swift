// SPDX-License-Identifier: GPL-2.0-only
// rig_check.h
import CPlatform
import CTDPMMU
import MMU
import Rig
import Sync

@c @implementation
public func tdpmmu_check(_ kvm: UnsafeMutablePointer<kvm>?) -> Int32 {
    guard kvm != nil, let entry = Contract.tdpmmu_check.enter(kvm) else {
        if kvm != nil { return .busy }
        Contract.tdpmmu_check.refuse("kvm is NULL")
        return .invalid
    }
    return entry.vm.checkNow() ?? .busy
}

@c @implementation
public func tdpmmu_check_report(
    _ kvm: UnsafeMutablePointer<kvm>?, _ report: tdpmmu_check_report_fn?, _ ctx: UnsafeMutableRawPointer?
) -> Int32 {
    guard let entry = Contract.tdpmmu_check_report.enter(kvm) else { return .invalid }
    let checks = entry.vm.checks
    checks.pointee.context = ctx
    checks.pointee.report = report
    return 0
}

@c @implementation
public func tdpmmu_check_always(_ kvm: UnsafeMutablePointer<kvm>?, _ every_nth: UInt32) -> Int32 {
    guard let entry = Contract.tdpmmu_check_always.enter(kvm) else { return .invalid }
    entry.vm.checkAlways(every: every_nth)
    return 0
}

@c @implementation
public func tdpmmu_check_stats(
    _ kvm: UnsafeMutablePointer<kvm>?, _ stats: UnsafeMutablePointer<CTDPMMU.tdpmmu_check_stats>?, _ size: Int
) -> Int32 {
    guard let entry = Contract.tdpmmu_check_stats.enter(kvm) else { return .invalid }
    return withUnsafeBytes(of: entry.vm.checkStats) { entry.copy($0, to: stats, size) }
}
