// SPDX-License-Identifier: GPL-2.0-only
import Synchronization

/// What is counted.  The C face is struct tdpmmu_stats.
package enum Counter: Int {
    case pages4K, pages2M, pages1G
    case tables, strays
    case faults, fixed, spurious, retried, emulated
    case mmioSPTEs, spteChanges, flushes, yields, warnings
    case fastFaults, splits, nxSplits

    static let count = 18
}

/// One block of counters.  Every vCPU has its own and the VM has two; a reader
/// adds them up, so one block alone may be negative.
package struct Counters {
    package typealias Cell = Atomic<Int64>

    private let cells: UnsafeMutablePointer<Cell>

    @inline(__always) package init(_ cells: UnsafeMutablePointer<Cell>) { self.cells = cells }

    package static var bytes: Int { Counter.count * MemoryLayout<Cell>.stride }

    /// exclusive: nobody else ever writes this block meanwhile (a vCPU's thread its
    /// own, a holder of mmu_lock for write the VM's exclusive one), so no locked
    /// operation is needed.
    @inline(__always) package func add(_ counter: Counter, _ n: Int64, exclusive: Bool) {
        if exclusive {
            let now = cells[counter.rawValue].load(ordering: .relaxed)
            cells[counter.rawValue].store(now &+ n, ordering: .relaxed)
        } else {
            cells[counter.rawValue].wrappingAdd(n, ordering: .relaxed)
        }
    }

    @inline(__always) package func read(_ counter: Counter) -> Int64 {
        cells[counter.rawValue].load(ordering: .relaxed)
    }

    /// Adds a block that is about to vanish.
    package func absorb(_ other: Counters) {
        for i in 0..<Counter.count {
            cells[i].wrappingAdd(other.cells[i].load(ordering: .relaxed), ordering: .relaxed)
        }
    }
}
