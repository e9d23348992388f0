// SPDX-License-Identifier: GPL-2.0-only
// What a grace period sleeps on while it waits for a reader.
import CPlatform
import Sync
import Synchronization

enum ReaderEvent {
    static var word: AtomicWord32 { shared(cp_gp_event()) }

    /// A reader that was asked to, tells that it has left.
    static func readerLeft() {
        // Release: pairs with the acquires in GracePeriod.run.
        word.pointee.wrappingAdd(1, ordering: .releasing)
        cp_futex_wake(cp_gp_event(), Int32.max)
    }
}
