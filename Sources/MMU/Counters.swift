// SPDX-License-Identifier: GPL-2.0-only
import PageTable
import Synchronization

/// What is counted.  The C face is struct tdpmmu_stats.
package enum Counter: Int {
    case pages4K, pages2M, pages1G
    case tables, strays
    case faults, fixed, spurious, retried, emulated
    case mmioSPTEs, spteChanges, flushes, yields, warnings
    case fastFaults, splits, nxSplits
    case pmlFull, pmlFlushes
}

/// One block of counters, on lines of its own.  Every vCPU has one and the VM has two; a
/// reader adds them up, so one block alone may be negative.  A walk beside others has one on its stack
/// (SPTEWriter.summing()), which no reader sees before it is added.
package struct CounterBlock: ~Copyable {
    fileprivate typealias Cells = InlineArray<20, Atomic<Int64>>

    /// By Counter.rawValue.
    fileprivate let cells = Cells { _ in Atomic(0) }
    private let reserved = Reserved<4>(repeating: 0)

    init() {}

    static var count: Int { Cells.count }
}

private typealias CounterWords = InlineArray<24, Int64>

/// A block of counters, where it lies.
package struct Counters {
    private let block: UnsafeMutablePointer<CounterBlock>

    @inline(__always) init(_ block: UnsafeMutablePointer<CounterBlock>) { self.block = block }

    /// Runs `body` with a block on the stack, in which nothing is counted yet.
    @inline(__always)
    static func withOwn<T>(_ body: (Counters) -> T) -> T {
        // As words: a block of atomics would want to be destroyed.
        var words = CounterWords(repeating: 0)
        return withUnsafeMutablePointer(to: &words) {
            body(Counters(UnsafeMutableRawPointer($0).assumingMemoryBound(to: CounterBlock.self)))
        }
    }

    /// exclusive: nobody else ever writes this block meanwhile (a vCPU's thread its
    /// own, a holder of mmu_lock for write the VM's exclusive one), so no locked
    /// operation is needed.
    @inline(__always) package func add(_ counter: Counter, _ n: Int64, exclusive: Bool) {
        add(index: counter.rawValue, n, exclusive: exclusive)
    }

    /// Leaves at a level that leaves stand at: the first three, in the order of levels.
    @inline(__always) func addPages(_ n: Int64, at level: Level, exclusive: Bool) {
        add(index: Int(level.raw &- 1), n, exclusive: exclusive)
    }

    @inline(__always) private func add(index: Int, _ n: Int64, exclusive: Bool) {
        if exclusive {
            let now = block.pointee.cells[unchecked: index].load(ordering: .relaxed)
            block.pointee.cells[unchecked: index].store(now &+ n, ordering: .relaxed)
        } else {
            block.pointee.cells[unchecked: index].wrappingAdd(n, ordering: .relaxed)
        }
    }

    @inline(__always) package func read(_ counter: Counter) -> Int64 {
        block.pointee.cells[unchecked: counter.rawValue].load(ordering: .relaxed)
    }

    /// Takes over what another block has counted, which the calling thread alone counts in.
    @inline(never)
    package func absorb(_ other: Counters) {
        for i in block.pointee.cells.indices {
            let n = other.block.pointee.cells[unchecked: i].load(ordering: .relaxed)
            guard n != 0, let counter = Counter(rawValue: i) else { continue }
            other.block.pointee.cells[unchecked: i].store(0, ordering: .relaxed)
            add(counter, n, exclusive: false)
        }
    }
}
