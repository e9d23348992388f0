// SPDX-License-Identifier: GPL-2.0-only
// KVM_GET_STATS_FD: a file in memory with KVM's layout, filled anew before each read.
import CKVMDevice

@c @implementation
public func ckd_get_stats_fd(
    _ object: UnsafeMutablePointer<ckd_object>!, _: UnsafeMutableRawPointer!, _: UInt64
) -> Int32 {
    guard let memory = ckd_zalloc(MemoryLayout<ckd_stats>.size) else { return -ENOMEM }
    let stats = memory.assumingMemoryBound(to: ckd_stats.self)
    stats.pointee.object = ckd_object(kind: CKD_STATS.rawValue, refs: 1)
    stats.pointee.vm = object!.vm
    let fd = ckd_fd_file("kvm-vm-stats", ckd_stats_size(), true)
    stats.pointee.memory = fd < 0 ? fd : ckd_duplicate(fd)
    guard stats.pointee.memory >= 0 else {
        if fd >= 0 { ckd_close(fd) }
        ckd_free(stats)
        return fd < 0 ? fd : -EMFILE
    }
    ckd_hold(object)
    ckd_stats_describe(stats.pointee.memory)
    ckd_stats_refresh(stats)
    ckd_fd_give(fd, &stats.pointee.object)
    return fd
}

@c @implementation
public func ckd_stats_refresh(_ stats: UnsafeMutablePointer<ckd_stats>!) {
    var found = tdpmmu_stats()
    guard tdpmmu_get_stats(stats.pointee.vm.pointee.kvm, &found, MemoryLayout<tdpmmu_stats>.size) == 0 else { return }
    // In the order of ckd_stats_describe().
    withUnsafeTemporaryAllocation(of: UInt64.self, capacity: 5) { values in
        values[0] = found.tlb_flushes
        values[1] = found.pages_4k
        values[2] = found.pages_2m
        values[3] = found.pages_1g
        values[4] = found.nx_splits
        ckd_stats_fill(stats.pointee.memory, values.baseAddress)
    }
}
