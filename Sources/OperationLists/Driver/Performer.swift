// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import Glibc
import LibraryClient

/// Makes the operations of one list, one after another, and says of each what came of it.
package final class Performer {
    let vm: TestVM?
    private let setupError: Int32
    /// What operations in the middle of the one that is being made have come to.
    private var inBetween: [String] = []

    package init(_ setup: Setup) {
        vm = TestVM(setup)
        setupError = vm == nil ? errno : 0
        vm?.hasYielded = { [unowned self] in comeInBetween() }
    }

    var setupResult: String { vm == nil ? "error \(setupError)" : "made" }

    /// What it returned, as text.
    package func perform(_ operation: Operation) -> String {
        guard let vm else { return "no VM" }
        if let count = operation.afterYields {
            vm.yielding.waiting.append((count, operation))
            return "later"
        }
        let result = result(of: operation, vm)
        vm.noteRoots()
        defer { inBetween = [] }
        if inBetween.isEmpty { return result }
        // Linux's function returns nothing; who stands in for it tells by the changes, also by those in between.
        return "\(operation.kind == .cleardirty ? "done" : result), meanwhile \(inBetween.joined(separator: ", "))"
    }

    /// The end of the VM.
    package func finish() -> String {
        guard let vm else { return "no VM" }
        while vm.invalidations.last != nil { endInvalidation(vm) }
        for index in vm.vcpus.indices {
            tdpmmu_destroy_vcpu(vm.vcpus[index])
            vm.vcpus[index] = nil
        }
        vm.destroy()
        return "destroyed"
    }

    private func comeInBetween() {
        guard let vm else { return }
        for operation in vm.yielding.take() {
            inBetween.append("\(operation.kind): \(result(of: operation, vm))")
        }
    }

    private func result(of operation: Operation, _ vm: TestVM) -> String {
        let call = Call(operation, vm)
        return faultResult(call) ?? leafResult(call) ?? slotResult(call) ?? logResult(call) ?? hostResult(call) ?? otherResult(call)
    }

    func endInvalidation(_ vm: TestVM) {
        guard let range = vm.invalidations.popLast() else { return }
        kvm_mmu_notifier_invalidate_range_end(vm.kvm, range.start, range.end)
    }
}

/// An operation with what its arguments name.
struct Call {
    let operation: Operation
    let vm: TestVM

    init(_ operation: Operation, _ vm: TestVM) { (self.operation, self.vm) = (operation, vm) }

    var kind: OperationKind { operation.kind }
    var kvm: UnsafeMutablePointer<kvm> { vm.kvm }

    subscript(_ index: Int) -> UInt64 { operation.argument(index) ?? 0 }
    subscript(_ index: Int, default value: UInt64) -> UInt64 { operation.argument(index) ?? value }

    /// The first argument.
    var vcpu: OpaquePointer? { vm.vcpus[Int(self[0]) % Parameter.vcpus] }
    var slot: HostSlot? { vm.slots[Int(self[0]) % Parameter.slots] }

    /// Whatever is done with a vCPU; "none" where a list has made none.
    func withVCPU(_ body: (OpaquePointer) -> String) -> String { vcpu.map(body) ?? "none" }

    /// Inside kvm->srcu, which keeps the slot.
    func withSlot(_ body: (HostSlot, UnsafePointer<kvm_memory_slot>) -> String) -> String {
        guard let slot else { return "none" }
        return kvm.insideSRCU {
            guard let found = tdpmmu_id_to_memslot(kvm, Int32(slot.addressSpace), Int32(slot.id)) else { return "not there" }
            return body(slot, found)
        }
    }

    /// The second and third argument, or all of the slot.
    func withRange(_ body: (UnsafePointer<kvm_gfn_range>) -> String) -> String {
        withSlot { host, slot in
            var range = kvm_gfn_range()
            range.slot = slot
            (range.start, range.end) = self.range(host)
            range.may_block = true
            return range.start < range.end ? body(&range) : "empty"
        }
    }

    func range(_ slot: HostSlot) -> (start: UInt64, end: UInt64) {
        (max(self[1, default: slot.first], slot.first),
         min(self[2, default: slot.first &+ slot.pages], slot.first &+ slot.pages))
    }
}

func text(_ flag: Bool) -> String { flag ? "1" : "0" }

/// Of what gives 0 or -errno.
func text(status: Int) -> String { status == 0 ? "ok" : status < 0 ? "error \(-status)" : String(status) }
