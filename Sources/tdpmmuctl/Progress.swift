// SPDX-License-Identifier: GPL-2.0-only
import Glibc

/// One line on stderr that is overwritten; nothing if that is no terminal.
final class Progress {
    private let isTerminal = isatty(STDERR_FILENO) != 0
    private var last = ""

    func show(_ text: String) {
        guard isTerminal, text != last else { return }
        last = text
        write("\r\u{1b}[K\(text)")
    }

    func clear() {
        guard isTerminal, !last.isEmpty else { return }
        last = ""
        write("\r\u{1b}[K")
    }

    private func write(_ text: String) {
        var text = text
        text.withUTF8 { _ = Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count) }
    }
}

func printError(_ text: String) {
    var line = text + "\n"
    line.withUTF8 { _ = write(STDERR_FILENO, $0.baseAddress, $0.count) }
}
