// SPDX-License-Identifier: GPL-2.0-only
import CPlatform
import CTDPMMU
import PageTable
import RCU
import Sync
import Synchronization

package struct VCPU: Equatable {
    let memory: UnsafeMutablePointer<VCPUMemory>

    @inline(__always) init(_ memory: UnsafeMutablePointer<VCPUMemory>) { self.memory = memory }

    @inline(__always) package init(_ pointer: OpaquePointer) { memory = UnsafeMutablePointer(pointer) }

    /// As C has it.
    package var pointer: OpaquePointer { OpaquePointer(memory) }

    @inline(__always) package var state: UnsafeMutablePointer<VCPUState> { place(of: &memory.pointee.state) }

    @inline(__always) package var vm: VM { VM(state.pointee.kvm) }

    @inline(__always) package var counters: Counters { Counters(place(of: &memory.pointee.counters)) }

    @inline(__always) package var addressSpace: Int32 { state.pointee.addressSpace }

    /// The root it walks.  Only RCU keeps it from being freed: another thread may take it
    /// from the vCPU at any moment.
    /// Acquire: pairs with the release in load(), for threads other than the vCPU's.
    @inline(__always)
    package func root(_ rcu: borrowing InsideRCU) -> Table? {
        Table(word: state.pointee.root.load(ordering: .acquiring))
    }

    /// The same as a word, 0 if there is none.
    @inline(__always)
    func rootWord(_ rcu: borrowing InsideRCU) -> UInt { state.pointee.root.load(ordering: .acquiring) }

    @inline(__always) package var hasRoot: Bool { state.pointee.root.load(ordering: .relaxed) != 0 }

    @inline(__always) var cache: TableCache { TableCache(place(of: &memory.pointee.cache)) }

    /// Next vCPU of the VM; under VMLock.vcpus.
    @inline(__always) var nextListed: VCPU? {
        get { memory.pointee.link.next.map { VCPU($0) } }
        nonmutating set { memory.pointee.link.next = newValue?.memory }
    }
}

extension VM {
    /// Under VMLock.vcpus.
    @inline(__always)
    package func forEachListedVCPU(_ body: (VCPU) -> Void) {
        var vcpu = firstListedVCPU
        while let here = vcpu {
            vcpu = here.nextListed
            body(here)
        }
    }

    /// Under VMLock.vcpus.
    var firstListedVCPU: VCPU? {
        get { memory.pointee.vcpus.first.map { VCPU($0) } }
        nonmutating set { memory.pointee.vcpus.first = newValue?.memory }
    }

    /// Visits each vCPU in the order in which they were made, without the list's lock: `body`
    /// may take others and call the rig.  One that is destroyed meanwhile outlives its visit.
    @inline(never)
    package func forEachVCPU(_ body: (VCPU) -> Void) {
        var vcpu = pinVCPU(after: nil)
        while let here = vcpu {
            body(here)
            vcpu = pinVCPU(after: here)
        }
    }

    /// The next vCPU of the list, pinned; `previous` no longer is.
    private func pinVCPU(after previous: VCPU?) -> VCPU? {
        locked(.vcpus) {
            var next = firstListedVCPU
            if let previous {
                previous.state.pointee.pins -= 1
                if previous.state.pointee.isListed { next = previous.nextListed }
            }
            let last = previous?.state.pointee.sequence ?? 0
            while let vcpu = next {
                if vcpu.state.pointee.sequence > last {
                    vcpu.state.pointee.pins += 1
                    return vcpu
                }
                next = vcpu.nextListed
            }
            return nil
        }
    }

    /// The VM's count and those of its vCPUs.
    package func total(_ counter: Counter) -> Int64 {
        locked(.vcpus) {
            var sum = counters.read(counter) + exclusiveCounters.read(counter)
            forEachListedVCPU { sum += $0.counters.read(counter) }
            return sum
        }
    }
}

extension VCPU {
    /// Does a loop over the VM's vCPUs stand here?
    package var isPinned: Bool { vm.locked(.vcpus) { state.pointee.pins > 0 } }
}
