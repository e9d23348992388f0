// SPDX-License-Identifier: GPL-2.0-only
import CPlatform
import CTDPMMU
import Sync
import Synchronization

/// What is known of the thread, behind the mutex in VMLock.recovery's line.
struct NXRecoveryWords {
    let line: UnsafeMutableRawPointer

    /// Counts what the thread should look at; it sleeps on this.
    var event: UnsafeMutablePointer<UInt32> { word(at: 4) }
    /// The thread shall end.
    var stop: AtomicWord32 { atomic32(word(at: 8)) }
    /// ForkGate.forks when it was started.
    var forks: UnsafeMutablePointer<UInt32> { word(at: 12) }
    /// Its pthread_t.
    var thread: UnsafeMutablePointer<UInt64> { (line + 16).assumingMemoryBound(to: UInt64.self) }
    /// 1 once there was one.
    var started: UnsafeMutablePointer<UInt32> { word(at: 24) }

    private func word(at offset: Int) -> UnsafeMutablePointer<UInt32> {
        (line + offset).assumingMemoryBound(to: UInt32.self)
    }

    /// Is there a thread, in this process?  Under VMLock.recovery.
    var isRunning: Bool { started.pointee != 0 && forks.pointee == ForkGate.forks }
}
