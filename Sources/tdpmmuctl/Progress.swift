// SPDX-License-Identifier: GPL-2.0-only
import Glibc

/// One line on stderr that is overwritten; nothing if that is no terminal.
final class Progress {
    private let isTerminal = isatty(STDERR_FILENO) != 0
    private var last = ""

    func show(_ text: String) {
        let text = Self.end(of: text, columns: Self.width)
        guard isTerminal, text != last else { return }
        last = text
        write("\r\u{1b}[K\(text)")
    }

    /// Columns that the terminal has.
    private static var width: Int {
        var size = winsize()
        return ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 0 ? Int(size.ws_col) : 80
    }

    /// What does not fit would wrap, and stay.  Names stand first, what changes last; the last column stays free, as
    /// some terminals wrap behind it.
    private static func end(of text: String, columns: Int) -> String {
        text.count < columns ? text : "..." + text.suffix(max(0, columns - 4))
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
