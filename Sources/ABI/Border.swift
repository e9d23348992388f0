// SPDX-License-Identifier: GPL-2.0-only
// The border: what every entry point asks of its caller, and how it says no.
import CPlatform
import CTDPMMU
import MMU
import PageTable
import RCU
import Sync

typealias KVMPointer = UnsafeMutablePointer<kvm>
typealias PagePointer = UnsafeMutablePointer<kvm_mmu_page>

extension Int32 {
    static var invalid: Int32 { -EINVAL }
}

/// A caller's mistake, told once.
@inline(never)
func complain(
    _ kind: WarningKind, _ function: StaticString, _ text: StaticString, _ kvm: KVMPointer? = nil,
    _ value0: UInt64 = 0, _ value1: UInt64 = 0
) {
    if let kvm {
        VM(kvm).warn(kind, function, text, value0, value1)
    } else {
        warn(kind, function, text, value0, value1)
    }
}

@inline(__always)
func checkedVM(_ kvm: KVMPointer?, _ function: StaticString) -> VM? {
    guard let kvm else {
        complain(.argument, function, "kvm is NULL")
        return nil
    }
    return VM(kvm)
}

@inline(__always)
func checkedVCPU(_ vcpu: OpaquePointer?, _ function: StaticString) -> VCPU? {
    guard let vcpu else {
        complain(.argument, function, "vcpu is NULL")
        return nil
    }
    return VCPU(vcpu)
}

/// A root of this VM, alive.
@inline(never)
func checkedRoot(_ root: PagePointer?, of vm: VM, _ function: StaticString) -> Table? {
    guard let root else {
        complain(.argument, function, "root is NULL", vm.kvm)
        return nil
    }
    guard let table = Table(checkedHeader: root), table.isRoot, table.isOwned(by: vm) else {
        complain(.argument, function, "root is no root of this VM", vm.kvm, UInt64(UInt(bitPattern: root)))
        return nil
    }
    return table
}

extension Table {
    func isOwned(by vm: VM) -> Bool {
        ownerAddress == UInt(bitPattern: vm.kvm)
    }
}

extension VM {
    /// Lock W.
    @inline(__always)
    func writeHold(_ function: StaticString) -> HeldForWrite? {
        if let hold = lock.callersWriteHold { return hold }
        complain(.lock, function, "mmu_lock is not held for write", kvm)
        return nil
    }

    /// Lock R, or the stronger W.
    @inline(__always)
    func hold(_ function: StaticString) -> HeldForRead? {
        if let hold = lock.callersHold { return hold }
        complain(.lock, function, "mmu_lock is not held", kvm)
        return nil
    }

    /// Lock R.
    func readHold(_ function: StaticString) -> HeldForRead? {
        if let hold = lock.callersReadHold { return hold }
        complain(.lock, function, "mmu_lock is not held for read", kvm)
        return nil
    }

    /// No lock, not in RCU: the function takes mmu_lock itself or waits.
    @inline(never)
    func mayWait(_ function: StaticString) -> Bool {
        if lock.isHeldForRead || lock.isHeldForWrite {
            complain(.lock, function, "mmu_lock is held, and the function takes it", kvm)
            return false
        }
        if rcuReadLockHeld() {
            complain(.lock, function, "called inside an RCU reader, and the function may wait", kvm)
            return false
        }
        return true
    }

    /// Moreover not in kvm->srcu, nor where slots are being changed or a dirty log read: the
    /// function takes the slots lock, whose holder may wait for readers of kvm->srcu.
    @inline(never)
    func mayTakeSlotsLock(_ function: StaticString) -> Bool {
        guard mayWait(function) else { return false }
        if srcu.isReadLockHeld {
            complain(.lock, function, "called inside a reader of kvm->srcu, for whom slot changes wait", kvm)
            return false
        }
        if holdsSlotsLock {
            complain(.lock, function, "called by a callback while this thread changes slots or reads a dirty log", kvm)
            return false
        }
        return true
    }

    /// Nothing of the VM is in use by this thread, and rcu_barrier() can wait: it may be taken down.
    @inline(never)
    func mayGo(_ function: StaticString) -> Bool {
        guard mayTakeSlotsLock(function) else { return false }
        if rig.isRunning {
            complain(.lock, function, "called by a callback of this VM", kvm)
            return false
        }
        if !mayWaitForCallbacks {
            complain(.lock, function, "called where rcu_barrier() is refused: in an RCU callback, or a report of a stall", kvm)
            return false
        }
        return true
    }

    func isReady(_ function: StaticString) -> Bool {
        if isSetUp { return true }
        complain(.argument, function, "the TDP MMU is not set up", kvm)
        return false
    }

    /// start <= end, and start inside what the VM can map.
    @inline(never)
    func isRange(_ start: gfn_t, _ end: gfn_t, _ function: StaticString) -> Bool {
        if start <= end && start < gfnLimit.raw { return true }
        complain(.argument, function, "no range of gfns below MAXPHYADDR (start, end)", kvm, start, end)
        return false
    }

    func isAddress(_ gpa: gpa_t, _ function: StaticString) -> Bool {
        if gpa >> 12 < gfnLimit.raw { return true }
        complain(.argument, function, "gpa beyond MAXPHYADDR (gpa)", kvm, gpa)
        return false
    }
}

// Slots, as callers name them -----------------------------------------------

/// A copy of a slot of this VM that a caller names by pointer.
@inline(never)
func checkedSlot(
    _ slot: SlotPointer?, of vm: VM, near gfn: gfn_t? = nil, _ function: StaticString
) -> kvm_memory_slot? {
    guard let slot, let copy = vm.liveSlot(slot, near: gfn.map { GFN($0) }) else {
        complain(.argument, function, "slot is no slot of this VM", vm.kvm, UInt64(UInt(bitPattern: slot)))
        return nil
    }
    return copy
}

/// A range that lies in one of the VM's slots, and that slot's address space.
@inline(never)
func checkedRange(
    _ range: UnsafePointer<kvm_gfn_range>?, of vm: VM, _ function: StaticString
) -> (range: kvm_gfn_range, addressSpace: Int32)? {
    guard let range = range?.pointee else {
        complain(.argument, function, "range is NULL", vm.kvm)
        return nil
    }
    guard vm.isRange(range.start, range.end, function),
          let slot = checkedSlot(range.slot, of: vm, near: range.start, function) else { return nil }
    guard range.start >= slot.base_gfn, range.end <= slot.base_gfn + slot.npages else {
        complain(.argument, function, "range lies outside its slot (start, end)", vm.kvm, range.start, range.end)
        return nil
    }
    return (range, Int32(slot.as_id))
}

func isLevel(_ level: Int32, _ allowed: ClosedRange<Int32>, _ vm: VM, _ function: StaticString) -> Bool {
    if allowed.contains(level) { return true }
    complain(.argument, function, "level out of range (level)", vm.kvm, UInt64(bitPattern: Int64(level)))
    return false
}
