// SPDX-License-Identifier: GPL-2.0-only

/// One line of ftrace text, cut into its columns:
///
///     comm-pid [cpu] flags  count: event: text
///
/// The comm may hold blanks and dashes; the pid cannot, so tasks are told apart
/// by it.
struct FtraceLine {
    var task: Int
    var count: UInt64
    var event: String
    var text: ByteCursor

    /// nil if the line does not have these columns.  anyClock: the count may be seconds.
    init?(_ line: ByteCursor, anyClock: Bool = false) {
        var cursor = line
        cursor.skipBlanks()
        guard let task = Self.task(&cursor), Self.skipCPUAndFlags(&cursor),
            let count = cursor.decimal()
        else { return nil }
        if anyClock, cursor.skip(".") { _ = cursor.decimal() }
        guard cursor.skip(": ") else { return nil }
        let event = cursor.word(until: .colon)
        guard !event.isEmpty, cursor.skip(":") else { return nil }
        cursor.skipBlanks()
        self.task = task
        self.count = count
        self.event = event
        text = cursor
    }

    /// The number before the first " [", which the last dash of the task precedes.
    private static func task(_ cursor: inout ByteCursor) -> Int? {
        while cursor.skipBehind(UInt8(ascii: "-")) {
            var probe = cursor
            guard let pid = probe.integer(), probe.skipBlanks(), probe.skip("[") else { continue }
            cursor = probe
            return pid
        }
        return nil
    }

    private static func skipCPUAndFlags(_ cursor: inout ByteCursor) -> Bool {
        guard cursor.decimal() != nil, cursor.skip("] ") else { return false }
        cursor.skipBlanks()
        let flags = cursor.word(until: .space)
        return !flags.isEmpty && cursor.skipBlanks()
    }
}
