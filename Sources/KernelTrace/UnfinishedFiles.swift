// SPDX-License-Identifier: GPL-2.0-only
import Glibc

/// Files that are being written under another name: a signal that ends the process takes them away first.
enum UnfinishedFiles {
    /// What the handler looks at: a recording has two files at once.
    nonisolated(unsafe) private static let paths = {
        let paths = UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>.allocate(capacity: count)
        paths.initialize(repeating: nil, count: count)
        return paths
    }()
    private static let count = 4
    private static let signals = [SIGHUP, SIGINT, SIGTERM, SIGXCPU, SIGXFSZ]

    static func begin(_ path: String) {
        guard let free = (0..<count).first(where: { paths[$0] == nil }) else { return }
        paths[free] = strdup(path)
        for number in signals { replaceHandler(number, { $0 == nil }, with: removeAll) }
    }

    static func end(_ path: String) {
        guard let index = (0..<count).first(where: { paths[$0].map { String(cString: $0) } == path }) else { return }
        let text = paths[index]
        paths[index] = nil
        free(text)
        guard (0..<count).allSatisfy({ paths[$0] == nil }) else { return }
        for number in signals { replaceHandler(number, { $0 != nil }, with: nil) }
    }

    private typealias Handler = @convention(c) (Int32) -> Void

    /// A signal that is ignored stays so.
    private static func replaceHandler(_ number: Int32, _ isOurs: (Handler?) -> Bool, with handler: Handler?) {
        var now = sigaction()
        guard sigaction(number, nil, &now) == 0 else { return }
        let current = now.__sigaction_handler.sa_handler
        guard isOurs(current), unsafeBitCast(current, to: Int.self) != 1 else { return }
        now.__sigaction_handler.sa_handler = handler
        sigaction(number, &now, nil)
    }

    /// Calls nothing but what a handler may.  The signal comes again when it returns, and ends the process.
    private static let removeAll: Handler = { number in
        for index in 0..<UnfinishedFiles.count {
            if let path = UnfinishedFiles.paths[index] { unlink(path) }
        }
        signal(number, SIG_DFL)
        raise(number)
    }
}
