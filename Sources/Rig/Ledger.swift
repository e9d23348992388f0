// SPDX-License-Identifier: GPL-2.0-only
import CPlatform
import MMU
import Sync
import Synchronization

/// How much a change took away, and so how long its flush may wait; a later one waits less.
package enum DebtKind: UInt8 {
    /// W or Dirty of a leaf that can get it back by a fast fault: the log misses a write, and that is all.  It may
    /// wait until a dirty log is read.
    case bits
    /// R, X, or that it may become writable at all.
    case rights
    /// A page.
    case page
    /// A table: CPUs may be walking memory that will be freed.
    case table
}

/// A flush that is owed: of gfns [start, end), to be made by whoever, on account of a thread's change.
package struct Debt {
    package var start: UInt64 = 0
    package var end: UInt64 = 0
    /// The change; of several that lie side by side the first.
    package var old: UInt64 = 0
    package var new: UInt64 = 0
    package var thread: UInt64 = 0
    /// When the last of them was made, in the ledger's own time.
    package var time: UInt64 = 0
    package var operation: UnsafePointer<CChar>?
    package var space: Int32 = 0
    package var level: Int16 = 0
    package var kind = DebtKind.bits

    package init() {}

    @inline(__always)
    fileprivate func touches(_ space: Int32, _ start: UInt64, _ end: UInt64) -> Bool {
        space == self.space && start < self.end && self.start < end
    }
}

/// A thread that is inside an operation.
package struct Actor {
    package var thread: UInt64 = 0
    package var operation: UnsafePointer<CChar>?
    /// When it began, in the ledger's own time.
    package var begun: UInt64 = 0
    /// How many operations deep: callbacks of one may call others.  0: the thread is in none, and flushes.
    package var depth: UInt32 = 0
    package var duty = Duty.none
    /// When its flush began that is not over, or 0.
    fileprivate var flushBegun: UInt64 = 0

    package init() {}
}

/// What stands before the debts.
private struct LedgerHead: ~Copyable {
    var mutex = cp_mutex()
    /// Written under the mutex.  A thread that asks for its own debts may look at it before: what it owes is counted.
    let count = Atomic<UInt32>(0)
    var actors: UInt32 = 0
    /// Debts ever noted as past.
    var noted: UInt32 = 0
    /// Counts changes and flushes.  Written under the mutex.
    let time = Atomic<UInt64>(0)
    /// Page faults under way: so many that they are kept by their threads, and only counted here.
    let faults = Atomic<Int64>(0)
    /// Debts that were merged with what lies between them, for want of room.
    var merged: UInt64 = 0
}

/// The debts of a VM's CPUs' caches: which flushes are owed, and not made yet.  Each change that takes something away
/// adds its range in the name of the thread that made it, since it is that thread which has to see to it; a
/// flush pays whoever's it covers, since after it no CPU has what was taken away, whoever asked.  But it pays only
/// what was owed when it began: CPUs may have filled their caches again while it went round.
/// Of a fixed size.  Ranges that lie side by side are one debt; where there is no room left, a thread's next debt is made
/// one with its last, and what lies between them: it is then paid by a flush of all that, as operations make them.
package struct Ledger {
    private let head: UnsafeMutablePointer<LedgerHead>

    private static var capacity: UInt32 { 1000 }
    private static var mostActors: UInt32 { 64 }
    private static var headBytes: Int { 128 }
    private static var mostPast: UInt32 { 64 }
    private static var debtBytes: Int { Int(capacity) &* MemoryLayout<Debt>.stride }
    private static var pastBytes: Int { Int(mostPast) &* MemoryLayout<Debt>.stride }

    /// nil without memory.
    package init?() {
        let bytes = Self.headBytes &+ Self.debtBytes &+ Self.pastBytes &+ Int(Self.mostActors) &* MemoryLayout<Actor>.stride
        guard let memory = cp_alloc_zeroed(bytes) else { return nil }
        head = memory.assumingMemoryBound(to: LedgerHead.self)
    }

    package func free() { cp_free_zeroed(head) }

    private var debts: UnsafeMutablePointer<Debt> {
        (UnsafeMutableRawPointer(head) + Self.headBytes).assumingMemoryBound(to: Debt.self)
    }

    /// What was owed last, paid or not.
    private var past: UnsafeMutablePointer<Debt> { debts + Int(Self.capacity) }

    private var actors: UnsafeMutablePointer<Actor> {
        (UnsafeMutableRawPointer(past) + Self.pastBytes).assumingMemoryBound(to: Actor.self)
    }

    private var count: UInt32 {
        get { head.pointee.count.load(ordering: .relaxed) }
        nonmutating set { head.pointee.count.store(newValue, ordering: .relaxed) }
    }

    /// The innermost of all locks: nothing is called under it.
    private func locked<T>(_ body: () -> T) -> T {
        RankedMutex(&head.pointee.mutex, .ledger).locked(body)
    }

    /// Under the lock: the newest of those that are meant.
    @inline(__always)
    private func find(_ isMeant: (Debt) -> Bool) -> UnsafeMutablePointer<Debt>? {
        var index = count
        while index > 0 {
            index &-= 1
            let debt = debts + Int(index)
            if isMeant(debt.pointee) { return debt }
        }
        return nil
    }

    /// Under the lock.
    @inline(never) @_optimize(size)
    private func strike(_ debt: UnsafeMutablePointer<Debt>) {
        count &-= 1
        debt.pointee = debts[Int(count)]
    }

    /// Under the lock.
    private func tick() -> UInt64 {
        let now = head.pointee.time.load(ordering: .relaxed) &+ 1
        head.pointee.time.store(now, ordering: .relaxed)
        return now
    }

    /// Under the lock.
    @inline(never) @_optimize(size)
    private func append(_ debt: Debt) -> Bool {
        guard count < Self.capacity else { return false }
        debts[Int(count)] = debt
        count &+= 1
        return true
    }

    // Making and paying debts -----------------------------------------------

    @inline(never) @_optimize(size)
    package func owe(_ new: Debt) {
        locked {
            var debt = new
            debt.time = tick()
            note(debt)
            // One that it continues or lies in; else, without room, the thread's last.
            let near = find {
                $0.thread == debt.thread && $0.space == debt.space && $0.kind == debt.kind
                    && debt.start <= $0.end && $0.start <= debt.end
            }
            if near == nil && append(debt) { return }
            guard let other = near ?? find({ $0.thread == debt.thread && $0.space == debt.space }) else { return }
            if near == nil { head.pointee.merged &+= 1 }
            other.pointee.start = min(other.pointee.start, debt.start)
            other.pointee.end = max(other.pointee.end, debt.end)
            other.pointee.time = debt.time
            if other.pointee.kind.rawValue < debt.kind.rawValue { other.pointee.kind = debt.kind }
        }
    }

    /// Under the lock: for who asks later what took something away.
    private func note(_ debt: Debt) {
        let last = past + Int((head.pointee.noted &- 1) & (Self.mostPast &- 1))
        if last.pointee.operation == debt.operation, last.pointee.space == debt.space,
           debt.start <= last.pointee.end, last.pointee.start <= debt.end {
            last.pointee.start = min(last.pointee.start, debt.start)
            last.pointee.end = max(last.pointee.end, debt.end)
        } else {
            past[Int(head.pointee.noted & (Self.mostPast &- 1))] = debt
            head.pointee.noted &+= 1
        }
    }

    /// The operation that took something away there last, as far back as is known.
    @inline(never) @_optimize(size)
    package func changer(_ space: Int32, _ start: UInt64, _ end: UInt64) -> UnsafePointer<CChar>? {
        locked {
            for step in 1...Self.mostPast {
                let debt = past + Int((head.pointee.noted &- step) & (Self.mostPast &- 1))
                if debt.pointee.touches(space, start, end) { return debt.pointee.operation }
            }
            return nil
        }
    }

    /// The ledger's time, if no thread but this one is in an operation or a flush: as long as it is the same then, nobody changed anything.
    @inline(never) @_optimize(size)
    package func timeAlone(_ thread: UInt64) -> UInt64? {
        locked {
            for index in 0..<Int(head.pointee.actors) where actors[index].thread != thread { return nil }
            // Acquire: pairs with the release in beginFault(); who sees what a fault has changed sees that it is there, or what it owes.
            guard head.pointee.actors < Self.mostActors,
                  head.pointee.faults.load(ordering: .acquiring) == (isInFault ? 1 : 0) else { return nil }
            return head.pointee.time.load(ordering: .relaxed)
        }
    }

    /// Are page faults under way?  Acquire: as in timeAlone().
    package var hasFaults: Bool { head.pointee.faults.load(ordering: .acquiring) != 0 }

    /// Does anybody owe anything?
    package var isAnyOwed: Bool { count != 0 }

    /// The thread's flush begins now.
    @inline(never) @_optimize(size)
    package func beginFlush(_ thread: UInt64) {
        locked { (actor(thread) ?? enter(thread, depth: 0))?.pointee.flushBegun = tick() }
    }

    /// It is over: every CPU has forgotten gfns [start, end), in all address spaces.
    @inline(never) @_optimize(size)
    package func endFlush(_ thread: UInt64, _ start: UInt64, _ end: UInt64) {
        locked {
            // Of a thread that there was no room for it is not known.
            var begun = UInt64.max
            if let known = actor(thread), known.pointee.flushBegun != 0 {
                begun = known.pointee.flushBegun
                known.pointee.flushBegun = 0
                if known.pointee.depth == 0 { leave(known) }
            }
            var index = count
            while index > 0 {
                index &-= 1
                let debt = debts + Int(index)
                if debt.pointee.time < begun, debt.pointee.touches(debt.pointee.space, start, end) {
                    pay(debt, start, end)
                }
            }
        }
    }

    /// Under the lock: a part of it, which may be its middle.
    @inline(never) @_optimize(size)
    private func pay(_ debt: UnsafeMutablePointer<Debt>, _ start: UInt64, _ end: UInt64) {
        if start <= debt.pointee.start {
            if end >= debt.pointee.end { return strike(debt) }
            debt.pointee.start = end
        } else if end >= debt.pointee.end {
            debt.pointee.end = start
        } else {
            var rest = debt.pointee
            rest.start = end
            // Without room all of it stays owed.
            if append(rest) { debt.pointee.end = start }
        }
    }

    // Who does what -------------------------------------------------------------

    /// Under the lock: what the thread is in, the innermost.
    @inline(never) @_optimize(size)
    private func actor(_ thread: UInt64) -> UnsafeMutablePointer<Actor>? {
        var found: UnsafeMutablePointer<Actor>?
        for index in 0..<Int(head.pointee.actors) where actors[index].thread == thread {
            if found.map({ $0.pointee.depth < actors[index].depth }) ?? true { found = actors + index }
        }
        return found
    }

    /// Under the lock.  nil: there is no room.
    @inline(never) @_optimize(size)
    private func enter(_ thread: UInt64, depth: UInt32) -> UnsafeMutablePointer<Actor>? {
        guard head.pointee.actors < Self.mostActors else { return nil }
        let new = actors + Int(head.pointee.actors)
        new.pointee = Actor()
        new.pointee.thread = thread
        new.pointee.depth = depth
        head.pointee.actors &+= 1
        return new
    }

    /// Under the lock.
    @inline(never) @_optimize(size)
    private func leave(_ known: UnsafeMutablePointer<Actor>) {
        head.pointee.actors &-= 1
        known.pointee = actors[Int(head.pointee.actors)]
    }

    /// An operation begins, in a callback of another or by itself.  More at once than there is room for are taken
    /// for none.
    @inline(never) @_optimize(size)
    package func begin(_ thread: UInt64, _ operation: UnsafePointer<CChar>?, _ duty: Duty) {
        locked {
            let outer = actor(thread).map { $0.pointee.depth } ?? (isInFault ? 1 : 0)
            guard let actor = enter(thread, depth: outer &+ 1) else { return }
            actor.pointee.operation = operation
            actor.pointee.duty = duty
            actor.pointee.begun = tick()
        }
    }

    /// It ends.  nil: it is not known.
    @inline(never) @_optimize(size)
    package func end(_ thread: UInt64) -> Actor? {
        locked {
            guard let known = actor(thread), known.pointee.depth != 0 else { return nil }
            let result = known.pointee
            leave(known)
            return result
        }
    }

    @inline(never) @_optimize(size)
    package func whatDoes(_ thread: UInt64) -> Actor? {
        let known = locked { actor(thread).flatMap { $0.pointee.depth != 0 ? $0.pointee : nil } }
        // A fault in a callback of an operation is what the thread does, and so is an operation in a callback of a fault.
        let begun = cp_self().pointee.fault_begun
        guard isInFault, known.map({ $0.begun < begun }) ?? true else { return known }
        var fault = Actor()
        fault.duty = .faults
        fault.depth = (known?.depth ?? 0) &+ 1
        fault.begun = begun
        let name: StaticString = "kvm_tdp_mmu_page_fault"
        fault.operation = UnsafePointer(bitPattern: name.address)
        return fault
    }

    /// Is this thread in a page fault of the VM?
    private var isInFault: Bool { cp_self().pointee.fault_book == UnsafeRawPointer(head) }

    /// This thread's page fault begins.  False: it is in one already, and this is an operation like any other.
    package func beginFault() -> Bool {
        guard cp_self().pointee.fault_book == nil else { return false }
        cp_self().pointee.fault_book = UnsafeRawPointer(head)
        cp_self().pointee.fault_begun = head.pointee.time.load(ordering: .relaxed) &+ 1
        // Release: pairs with timeAlone().
        head.pointee.faults.wrappingAdd(1, ordering: .acquiringAndReleasing)
        return true
    }

    /// It ends.  When it began; nil: it is not known.
    package func endFault() -> UInt64? {
        guard isInFault else { return nil }
        cp_self().pointee.fault_book = nil
        // Release: as above.
        head.pointee.faults.wrappingSubtract(1, ordering: .acquiringAndReleasing)
        return cp_self().pointee.fault_begun
    }

    // Questions ---------------------------------------------------------------

    /// Is anything in the range owed, by anybody?
    @inline(never) @_optimize(size)
    package func isOwed(_ space: Int32, _ start: UInt64, _ end: UInt64) -> Bool {
        locked { find { $0.touches(space, start, end) } != nil }
    }

    /// A debt of the thread's there, of a kind or worse: it is struck off, for a report.
    @inline(never) @_optimize(size)
    package func take(
        _ thread: UInt64, _ space: Int32, _ start: UInt64, _ end: UInt64, from kind: DebtKind
    ) -> Debt? {
        if count == 0 { return nil }
        return locked {
            guard let debt = find({
                $0.thread == thread && $0.touches(space, start, end) && $0.kind.rawValue >= kind.rawValue
            }) else { return nil }
            let result = debt.pointee
            strike(debt)
            return result
        }
    }

    /// What the thread owes of this kind or worse, since a time, is due now: it is struck off, and the oldest of it
    /// returned, so that it is told once.  `thread` nil: of all threads.
    @inline(never) @_optimize(size)
    package func collect(_ thread: UInt64?, from kind: DebtKind, since time: UInt64 = 0) -> Debt? {
        if count == 0 { return nil }
        return locked {
            var oldest: Debt?
            while let debt = find({
                (thread == nil || $0.thread == thread) && $0.kind.rawValue >= kind.rawValue && $0.time >= time
            }) {
                if oldest.map({ debt.pointee.time < $0.time }) ?? true { oldest = debt.pointee }
                strike(debt)
            }
            return oldest
        }
    }

    /// How often there was no room.
    package var merged: UInt64 { locked { head.pointee.merged } }
}
