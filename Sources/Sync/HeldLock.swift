// SPDX-License-Identifier: GPL-2.0-only
// How mmu_lock is held, said in types: an operation that needs it asks for the proof,
// and one that may let go of it in its middle asks for the proof to itself (inout).

/// How a lock is held.
package enum LockMode {
    case shared
    case exclusive
}

/// Proof that the calling thread holds mmu_lock.  Only this file makes one.
package protocol LockHold: ~Copyable {
    var mode: LockMode { get }

    /// Lets go of the lock, runs `body`, and takes it again.
    mutating func giveWay(_ lock: RWLock, while body: () -> Void)
}

/// Lock R, or the stronger W: others may hold it for read, nobody else for write.
@frozen
package struct HeldForRead: LockHold, ~Copyable {
    @inline(__always) fileprivate init() {}

    @inline(__always) package var mode: LockMode { .shared }

    @inline(__always)
    package mutating func giveWay(_ lock: RWLock, while body: () -> Void) {
        lock.leaveForRead()
        body()
        lock.takeForRead()
    }
}

/// Lock W: nobody else holds it.
@frozen
package struct HeldForWrite: LockHold, ~Copyable {
    @inline(__always) fileprivate init() {}

    @inline(__always) package var mode: LockMode { .exclusive }

    @inline(__always)
    package mutating func giveWay(_ lock: RWLock, while body: () -> Void) {
        lock.leaveForWrite()
        body()
        lock.takeForWrite()
    }
}

/// One of both, for code that is much and need not stand twice.
@frozen
package struct HeldEitherWay: LockHold, ~Copyable {
    package let mode: LockMode

    @inline(__always) fileprivate init(_ mode: LockMode) { self.mode = mode }

    @inline(__always)
    package mutating func giveWay(_ lock: RWLock, while body: () -> Void) {
        if mode == .shared { lock.leaveForRead() } else { lock.leaveForWrite() }
        body()
        if mode == .shared { lock.takeForRead() } else { lock.takeForWrite() }
    }
}

extension LockHold where Self: ~Copyable {
    /// The proof as one of both, while `body` runs.
    @inline(__always)
    package mutating func eitherWay<T: ~Copyable>(_ body: (inout HeldEitherWay) -> T) -> T {
        var hold = HeldEitherWay(mode)
        return body(&hold)
    }
}

extension RWLock {
    // Out of line, for who has more to do than that: each is some hundred bytes.

    @inline(never) @discardableResult
    fileprivate func takeForWrite() -> Bool { writeLock() }
    @inline(never)
    fileprivate func leaveForWrite() { writeUnlock() }
    @inline(never)
    fileprivate func takeForRead() { readLock() }
    @inline(never)
    fileprivate func leaveForRead() { readUnlock() }

    /// Runs `body` with the lock held for read; nil, with a warning, if it cannot be taken.
    @inline(__always)
    package func read<T: ~Copyable>(_ body: (inout HeldForRead) -> T) -> T? {
        guard readLock() else { return nil }
        var hold = HeldForRead()
        let result = body(&hold)
        readUnlock()
        return result
    }

    /// Runs `body` with the lock held for write; nil, with a warning, if it cannot be taken.
    @inline(__always)
    package func write<T: ~Copyable>(_ body: (inout HeldForWrite) -> T) -> T? {
        guard takeForWrite() else { return nil }
        var hold = HeldForWrite()
        let result = body(&hold)
        leaveForWrite()
        return result
    }

    /// The hold of an entry point's caller: for read, or for write, which is more.
    @inline(__always)
    package var callersHold: HeldForRead? { isHeldForRead || isHeldForWrite ? HeldForRead() : nil }

    /// The hold for read of an entry point's caller.
    @inline(__always)
    package var callersReadHold: HeldForRead? { isHeldForRead ? HeldForRead() : nil }

    /// The hold for write of an entry point's caller.
    @inline(__always)
    package var callersWriteHold: HeldForWrite? { isHeldForWrite ? HeldForWrite() : nil }
}
