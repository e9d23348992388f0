// SPDX-License-Identifier: GPL-2.0-only
// The two words the read side lives on, and how to read them.  The layout is
// fixed by rcu.h, whose inlines are compiled into other people's programs.
import CPlatform
import CTDPMMU
import Sync
import Synchronization

/// A value of a thread's reader word, or of the grace-period word.
@usableFromInline
struct ReaderWord: Equatable {
    @usableFromInline let raw: UInt64

    @inline(__always) init(_ raw: UInt64) { self.raw = raw }

    private static var nestMask: UInt64 { 0x7fff }
    private static var wakeBit: UInt64 { 0x8000 }
    private static var fenceBit: UInt64 { 0x20000 }
    private static var sequenceShift: UInt64 { 18 }

    static var unregistered: ReaderWord { ReaderWord(0) }
    static var idle: ReaderWord { ReaderWord(0x10000) }
    static var deepest: UInt64 { nestMask }

    /// How many sections are open; the grace-period word always says 1.
    @inline(__always) var depth: UInt64 { raw & Self.nestMask }

    /// Exactly one section, and nobody to wake: the fast way out.
    @inline(__always) var isPlainOutermost: Bool { raw & (Self.nestMask | Self.wakeBit) == 1 }

    /// At least two sections, and nobody to wake.
    @inline(__always) var isPlainNested: Bool {
        raw & Self.wakeBit == 0 && raw & Self.nestMask > 1
    }

    /// Does a grace period sleep until this reader leaves?
    @inline(__always) var wantsWake: Bool { raw & Self.wakeBit != 0 }

    @inline(__always) var askingForWake: ReaderWord { ReaderWord(raw | Self.wakeBit) }

    /// With one section open, and nobody to wake.
    var atDepthOne: ReaderWord { ReaderWord(raw & ~(Self.nestMask | Self.wakeBit) | 1) }

    /// Number of the grace period that had begun last.
    @inline(__always) var sequence: UInt64 { raw &>> Self.sequenceShift }

    /// Do readers run full fences?
    @inline(__always) var needsFences: Bool { raw & Self.fenceBit != 0 }

    @inline(__always) var nextSequence: ReaderWord {
        ReaderWord(raw &+ (1 &<< Self.sequenceShift))
    }

    /// Does a reader with this word keep grace period `sequence` from ending?
    /// Outside (idle, unregistered) no; one that began after it did, no.
    @inline(__always) func holdsUp(_ sequence: UInt64) -> Bool {
        depth != 0 && self.sequence < sequence
    }
}

/// The calling thread's reader word.
@inline(__always)
var ownWord: AtomicWord64 { shared(cp_reader_word(cp_reader())) }

/// Is the calling thread inside a read-side critical section?
@inline(__always)
package func rcuReadLockHeld() -> Bool {
    ReaderWord(ownWord.pointee.load(ordering: .relaxed)).depth != 0
        || cp_self().pointee.late_depth != 0
}

/// The grace-period word.
@inline(__always)
var gracePeriodWord: AtomicWord64 { shared(cp_rcu_gp()) }

@inline(__always)
func currentGracePeriod() -> ReaderWord {
    ReaderWord(gracePeriodWord.pointee.load(ordering: .relaxed))
}

/// The cheap half of an asymmetric fence: a full fence against a thread that runs
/// heavyFence(), at the price of none where membarrier works.
@inline(__always)
func lightFence(fences: Bool) {
    if fences {
        atomicMemoryFence(ordering: .sequentiallyConsistent)
    } else {
        cp_signal_fence()
    }
}

/// The dear half.
@inline(__always)
func heavyFence() {
    if currentGracePeriod().needsFences {
        atomicMemoryFence(ordering: .sequentiallyConsistent)
    } else {
        cp_membarrier()
    }
}
