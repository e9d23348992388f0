// SPDX-License-Identifier: GPL-2.0-only
// rig_explore.h
import CPlatform
import CSchedule
import CTDPMMU
import PageTable

@c @implementation
public func tdpmmu_explore_main(
    _ argc: Int32, _ argv: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?, _ scenarios: UnsafePointer<tdpmmu_scenario>?,
    _ count: Int32
) -> Int32 {
    #if SCHEDULE_POINTS
    guard let argv, let scenarios, argc > 0 else { return 2 }
    cs_set_namer(nameOfEntry)
    return cs_main(argc, argv, scenarios, count)
    #else
    cp_say("explore: this library has no schedule points: make rig\n")
    return 3
    #endif
}

@c @implementation
public func tdpmmu_explore_failed(_ what: UnsafePointer<CChar>?, _ file: UnsafePointer<CChar>?, _ line: Int32) {
    #if SCHEDULE_POINTS
    cs_fail_at(what, file, line)
    #else
    cp_say("explore: an assertion failed outside of a scenario\n")
    #endif
}

@c @implementation
public func tdpmmu_schedule_point(_ address: UnsafeRawPointer?, _ writes: Bool) {
    #if SCHEDULE_POINTS
    if let address { cs_point(address, writes) }
    #endif
}

@c @implementation
public func tdpmmu_explore_name(_ address: UnsafeRawPointer?, _ bytes: Int, _ name: UnsafePointer<CChar>?) {
    #if SCHEDULE_POINTS
    if let address, let name { cs_name(address, bytes, name) }
    #endif
}

@c @implementation
public func tdpmmu_explore_ignore(_ address: UnsafeRawPointer?, _ bytes: Int) {
    #if SCHEDULE_POINTS
    if let address, cs_is_scheduled() { cs_ignore(address, bytes) }
    #endif
}

@c @implementation
public func tdpmmu_explore_pass_time(_ ns: UInt64) {
    #if SCHEDULE_POINTS
    if cs_is_scheduled() { cs_pass_time(ns) }
    #endif
}

@c @implementation
public func tdpmmu_explore_alloc(_ bytes: Int) -> UnsafeMutableRawPointer? {
    #if SCHEDULE_POINTS
    return cs_is_scheduled() && bytes > 0 ? cs_alloc(bytes, 16) : nil
    #else
    return nil
    #endif
}

#if SCHEDULE_POINTS
/// What the table of a failure calls an SPTE, or a word of a table's header.
private func nameOfEntry(_ address: UInt64, _ text: UnsafeMutablePointer<CChar>, _ room: Int) -> Bool {
    guard let table = Table(checkedAddress: UInt(address)) else { return false }
    let index = (UInt(address) &>> 3) & 511, level = table.level
    cs_write_entry(text, room, level.raw, table.gfn.raw &+ UInt64(index) &* level.pages, table.isRoot)
    return true
}
#endif
