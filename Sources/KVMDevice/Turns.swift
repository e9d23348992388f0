// SPDX-License-Identifier: GPL-2.0-only
// One vCPU of a VM runs guest code at a time, and they take turns.  The engine makes a locked instruction out of
// a load and a store, which only this makes whole.  A turn ends where the guest leaves its code: between blocks,
// or inside an instruction that is then made once more (SecondStage.swift).
import CKVMDevice

/// How long a turn lasts while others wait: about a millisecond of a CPU's ticks.
private let turnTicks: UInt64 = 2_000_000

extension VCPU {
    /// Waits for this vCPU's turn, in order of arrival.
    func takeTurn() {
        let vm = vm
        ckd_take(&vm.pointee.turn_lock)
        if vm.pointee.turn == nil {
            vm.pointee.turn = self
        } else {
            queueUp(vm)
            while vm.pointee.turn != self { ckd_wait(&pointee.bell, &vm.pointee.turn_lock) }
        }
        // The number stays while nobody else had a turn since.
        if vm.pointee.turns != pointee.turn_number { vm.pointee.turns += 1 }
        pointee.turn_number = vm.pointee.turns
        pointee.turn_began = ckd_ticks()
        pointee.blocks = 0
        ckd_drop(&vm.pointee.turn_lock)
    }

    private func queueUp(_ vm: VM) {
        pointee.next_waiting = nil
        if let last = vm.pointee.last { last.pointee.next_waiting = self } else { vm.pointee.first = self }
        vm.pointee.last = self
        vm.pointee.waiting += 1
    }

    /// Gives the turn to whoever has waited longest.
    func giveTurn() {
        let vm = vm
        ckd_take(&vm.pointee.turn_lock)
        let next = vm.pointee.first
        vm.pointee.turn = next
        if let next {
            vm.pointee.first = next.pointee.next_waiting
            if vm.pointee.first == nil { vm.pointee.last = nil }
            vm.pointee.waiting -= 1
            ckd_ring(&next.pointee.bell)
        }
        ckd_drop(&vm.pointee.turn_lock)
    }

    var hasTurn: Bool { vm.pointee.turn == self }

    /// Has it run long enough, while another waits?  Looked at between blocks.
    var turnIsOver: Bool {
        pointee.blocks &+= 1
        guard pointee.blocks & 255 == 0, ckd_peek(&vm.pointee.waiting) != 0 else { return false }
        return ckd_ticks() &- pointee.turn_began > turnTicks
    }

    /// Lets the others run during `body`, which may wait for them.
    func outsideTurn(_ body: () -> Int32) -> Int32 {
        giveTurn()
        let answer = body()
        takeTurn()
        return answer
    }
}
