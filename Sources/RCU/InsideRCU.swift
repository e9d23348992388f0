// SPDX-License-Identifier: GPL-2.0-only
// Who may look at what RCU protects, said in types: code without the proof does not
// compile.  The proofs are empty values and cost nothing at run time.

/// Proof that the calling thread is inside an RCU reader.  Only this file makes one, and
/// it cannot be copied, so it does not outlive the section it stands for.
@frozen
package struct InsideRCU: ~Copyable {
    @inline(__always) fileprivate init() {}

    /// Leaves the reader, runs `body`, and enters another one.  Whoever merely borrows the
    /// proof cannot: what he has reached stays.
    @inline(__always)
    package mutating func leave(while body: () -> Void) {
        rcuReadUnlock()
        body()
        rcuReadLock()
    }
}

/// Runs `body` inside an RCU reader of its own.
@inline(__always)
package func insideRCU<T: ~Copyable>(_ body: (inout InsideRCU) -> T) -> T {
    beginSection()
    var proof = InsideRCU()
    let result = body(&proof)
    endSection()
    return result
}

/// The reader that the caller of an entry point is in; nil outside one.
@inline(__always)
package func callersRCU() -> InsideRCU? { rcuReadLockHeld() ? InsideRCU() : nil }

/// Proof that the calling thread is inside a reader of an SRCU domain, and may sleep there.
@frozen
package struct InsideSRCU: ~Copyable {
    @inline(__always) fileprivate init() {}
}

extension SRCUDomain {
    /// Runs `body` inside a reader of the domain; nil, with a warning, if there can be none.
    @inline(__always)
    package func inside<T: ~Copyable>(_ body: (borrowing InsideSRCU) -> T) -> T? {
        let which = beginOwn()
        guard which >= 0 else { return nil }
        let result = body(InsideSRCU())
        endOwn(which)
        return result
    }

    /// The reader of the domain that the caller of an entry point is in; nil outside one.
    @inline(__always)
    package var callersReader: InsideSRCU? { isReadLockHeld ? InsideSRCU() : nil }
}
