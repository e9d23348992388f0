// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// A walk with its thread, and what it was in the middle of while it stands.
final class RunningWalk {
    let walk: StandingWalk
    let thread = OperationThread()
    var context: Context
    var problem: BadInput?

    init(_ walk: StandingWalk, _ context: Context) {
        self.walk = walk
        self.context = context
    }

    /// Of what is being done, where another thing comes in between.
    struct Context {
        var item: Int
        var line: Int
        var hostPages: [UInt64: HostPage]
        var changes: [SPTEChange]
        var running: RunningWalk?
    }
}
