// SPDX-License-Identifier: GPL-2.0-only
import Glibc
import KernelTrace

/// A thread for one operation, so that it can stand still in the library's middle while others
/// go on.  Only one thread runs at any time: who lets another run waits until it stands or ends.
final class OperationThread {
    private var body: () -> Void = {}
    private var thread = pthread_t()
    private var hasEnded = false
    private let mayRun = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)
    private let stands = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)

    init() {
        sem_init(mayRun, 0, 0)
        sem_init(stands, 0, 0)
    }

    deinit {
        sem_destroy(mayRun)
        sem_destroy(stands)
        mayRun.deallocate()
        stands.deallocate()
    }

    /// Runs something from its beginning.  Whether it has come to its end; false: it stands.
    func start(_ body: @escaping () -> Void) -> Bool {
        self.body = body
        let context = Unmanaged.passUnretained(self).toOpaque()
        let error = pthread_create(&thread, nil, { context in
            Unmanaged<OperationThread>.fromOpaque(context.unsafelyUnwrapped).takeUnretainedValue().run()
            return nil
        }, context)
        guard error == 0 else {
            // Without a thread it cannot stand: then it is done in one piece.
            hasEnded = true
            body()
            return true
        }
        return waitUntilItStands()
    }

    /// The same from where it stands.
    func resume() -> Bool {
        sem_post(mayRun)
        return waitUntilItStands()
    }

    private func waitUntilItStands() -> Bool {
        while sem_wait(stands) != 0 {}
        if hasEnded { pthread_join(thread, nil) }
        return hasEnded
    }

    private func run() {
        body()
        hasEnded = true
        sem_post(stands)
    }

    /// From inside: stands until it is resumed.
    func stand() {
        guard !hasEnded else { return }
        sem_post(stands)
        while sem_wait(mayRun) != 0 {}
    }
}
