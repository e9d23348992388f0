// SPDX-License-Identifier: GPL-2.0-only
// Where callbacks wait to be collected: a queue for each thread, to which it
// appends with plain instructions.
//
// A queue has two lists.  The owner appends to list[select]:
//      busy = 1; light fence; read select; append; busy = 0
// The collector takes the other list, after it made sure that the owner is not
// still appending there:
//      select ^= 1; heavy fence; wait for busy == 0; take the list
// which is RCU again, with the append as the section: an owner that shows busy == 0
// after the heavy fence will read the new select next time.
import CPlatform
import CTDPMMU
import Sync
import Synchronization

struct CallbackQueue {
    let queue: UnsafeMutablePointer<cp_callbacks>

    @inline(__always)
    init(_ queue: UnsafeMutablePointer<cp_callbacks>) { self.queue = queue }

    @inline(__always)
    static var own: CallbackQueue {
        CallbackQueue(cp_thread_callbacks(cp_self()))
    }

    @inline(__always) private var busy: AtomicWord64 { shared(cp_callbacks_busy(queue)) }
    @inline(__always) private var select: AtomicWord64 { shared(cp_callbacks_select(queue)) }
    @inline(__always) private var count: AtomicWord32 { shared(cp_callbacks_count(queue)) }
    @inline(__always) private func head(_ which: UInt64) -> AtomicWord {
        shared(cp_callbacks_head(queue) + Int(which))
    }
    @inline(__always) private func tail(_ which: UInt64) -> UnsafeMutablePointer<UInt> {
        cp_callbacks_tail(queue) + Int(which)
    }

    // MARK: The owner

    /// Owner.  The function queued last, 0 as long as the queue is on no list.
    @inline(__always)
    var known: UInt {
        get { queue.pointee.known }
        nonmutating set { queue.pointee.known = newValue }
    }

    @inline(__always)
    var needsFences: Bool { queue.pointee.fences != 0 }

    /// Owner.  Count an append; true each time it is worth telling.
    @inline(__always)
    func countOne() -> Bool {
        // A load and a store, for nobody else writes it.
        let now = count.pointee.load(ordering: .relaxed) &+ 1
        count.pointee.store(now, ordering: .relaxed)
        return now % PendingCallbacks.step == 0
    }

    /// How many of them PendingCallbacks has not been told of.  Read while the owner counts:
    /// about right is enough.
    var countUntold: UInt32 { count.pointee.load(ordering: .relaxed) % PendingCallbacks.step }

    /// Owner.  None has been appended.
    func forgetCount() { count.pointee.store(0, ordering: .relaxed) }

    /// Owner.  `next` of the element is nil.
    @inline(__always)
    func append(_ element: Head) {
        busy.pointee.store(1, ordering: .relaxed)
        // Pairs with the heavy fence between flip and take.
        lightFence(fences: needsFences)
        // Acquire: pairs with the release in flip; the list is empty as take left it.
        let tail = tail(select.pointee.load(ordering: .acquiring))
        // Relaxed and atomic, because hasCallbacks() looks at a head at any time.
        AtomicWord(bitPattern: tail.pointee).unsafelyUnwrapped.pointee.store(
            UInt(bitPattern: element), ordering: .relaxed)
        tail.pointee = UInt(bitPattern: element)  // `next` is the first field
        // Release: pairs with the acquire in take.
        busy.pointee.store(0, ordering: .releasing)
    }

    /// Owner, registry mutex held: the thread's queue comes into being.
    func enlist() {
        queue.pointee.fences = currentGracePeriod().needsFences ? 1 : 0
        for which: UInt64 in 0..<2 {
            head(which).pointee.store(0, ordering: .relaxed)
            tail(which).pointee = UInt(bitPattern: head(which))
        }
        let registry = cp_registry()
        let first = registry.pointee.queues
        queue.pointee.prev = nil
        queue.pointee.next = first
        if let first { first.pointee.prev = queue }
        registry.pointee.queues = queue
    }

    /// Owner, registry mutex held: the thread goes, its callbacks stay.
    static func abandonOwn() {
        let own = CallbackQueue.own
        guard own.known != 0 else { return }
        // The list the collector would take next is the older one.
        let newer = own.select.pointee.load(ordering: .relaxed)
        own.moveToOrphans(newer ^ 1)
        own.moveToOrphans(newer)
        let next = own.queue.pointee.next
        let previous = own.queue.pointee.prev
        if let next { next.pointee.prev = previous }
        if let previous {
            previous.pointee.next = next
        } else {
            cp_registry().pointee.queues = next
        }
        own.known = 0
        PendingCallbacks.add(UInt64(own.countUntold))
        own.forgetCount()
    }

    private func moveToOrphans(_ which: UInt64) {
        let first = head(which).pointee.load(ordering: .relaxed)
        guard let first = Head(bitPattern: first) else { return }
        Orphans.append(first, lastNext: tail(which).pointee)
        head(which).pointee.store(0, ordering: .relaxed)
        tail(which).pointee = UInt(bitPattern: head(which))
    }

    // MARK: A forked child, in which nobody appends

    var selected: UInt64 { select.pointee.load(ordering: .relaxed) }

    func first(_ which: UInt64) -> Head? { Head(bitPattern: head(which).pointee.load(ordering: .relaxed)) }

    // MARK: The collector (engine mutex and registry mutex held)

    /// From now on the owner uses the other list.
    func flip() {
        // Release: pairs with the acquire in append.
        select.pointee.store(select.pointee.load(ordering: .relaxed) ^ 1, ordering: .releasing)
    }

    /// After flip and a heavy fence: move the list that the owner left to `batch`.
    func take(into batch: inout CallbackList) {
        let which = select.pointee.load(ordering: .relaxed) ^ 1
        var pauses = 0
        // Acquire: pairs with the release in append.
        while busy.pointee.load(ordering: .acquiring) != 0 {
            // The owner is inside an append that began before the fence, perhaps
            // preempted there.  Appends block nowhere.
            pauses += 1
            if pauses % 64 == 0 { cp_yield() } else { cp_cpu_relax() }
        }
        guard let first = Head(bitPattern: head(which).pointee.load(ordering: .relaxed)) else {
            return
        }
        batch.append(first, lastNext: tail(which).pointee)
        tail(which).pointee = UInt(bitPattern: head(which))
        // Release: pairs with the acquire in hasCallbacks (rcuBarrier).
        head(which).pointee.store(0, ordering: .releasing)
    }

    /// Registry mutex held.  Is anything in the queue?
    func hasCallbacks() -> Bool {
        (head(0).pointee.load(ordering: .acquiring) | head(1).pointee.load(ordering: .acquiring))
            != 0
    }
}
