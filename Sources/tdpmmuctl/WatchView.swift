// SPDX-License-Identifier: GPL-2.0-only
import Glibc
import Replay

/// What of a recording has come, and how fast.
struct WatchView {
    /// By event; the second number is of the last interval.
    private(set) var rows: [(name: String, events: Int, new: Int)] = []
    private(set) var total = 0, new = 0, lost = 0
    /// Since the watching began, and of the last interval; nil: it looked once.
    private(set) var seconds: Double?
    private(set) var interval: Double?
    private static let width = 80
    /// What was there when the watching began.
    private var atFirst: EventCount?

    /// In place of the last interval, all the time since it began.
    mutating func finish() {
        guard let atFirst else { return }
        interval = seconds
        new = total - atFirst.total
        rows = rows.map { ($0.name, $0.events, $0.events - (atFirst.byName[$0.name] ?? 0)) }
    }

    mutating func take(_ count: EventCount, interval: Double?) {
        if atFirst == nil { atFirst = count }
        let before = Dictionary(uniqueKeysWithValues: rows.map { ($0.name, $0.events) })
        (new, total, lost) = (count.total - total, count.total, count.lost)
        rows = count.byName.map { ($0.key, $0.value, $0.value - (before[$0.key] ?? 0)) }.sorted { ($1.events, $0.name) < ($0.events, $1.name) }
        if let interval { seconds = (seconds ?? 0) + interval }
        self.interval = interval
    }

    private func rate(_ events: Int) -> Double? { interval.map { $0 > 0 ? (Double(events) / $0 * 10).rounded() / 10 : 0 } }

    private func rateText(_ events: Int) -> String { rate(events).map { String(Int($0.rounded())) } ?? "" }

    var json: JSON {
        let kinds = rows.map { row -> JSON in
            ["event": .string(row.name), "events": .number(row.events), "per_second": rate(row.new).map(JSON.fraction).orNull]
        }
        return ["seconds": seconds.map { .fraction(($0 * 10).rounded() / 10) }.orNull, "events": .number(total),
                "per_second": rate(new).map(JSON.fraction).orNull, "lost": .number(lost), "kinds": .array(kinds)]
    }

    /// So many lines at most.
    func table(lines: Int) -> String {
        let shown = rows.prefix(max(1, rows.count <= lines - 2 ? rows.count : lines - 3))
        let hasRates = interval != nil
        var cells = [["event", "events"] + (hasRates ? ["a second"] : [])]
        cells += shown.map { [$0.name, String($0.events)] + (hasRates ? [rateText($0.new)] : []) }
        let rest = rows.dropFirst(shown.count)
        if !rest.isEmpty {
            let (events, new) = rest.reduce((0, 0)) { ($0.0 + $1.events, $0.1 + $1.new) }
            cells.append(["\(rest.count) others", String(events)] + (hasRates ? [rateText(new)] : []))
        }
        cells.append(["all", String(total)] + (hasRates ? [rateText(new)] : []))
        return TextTable.text(cells) + (lost > 0 ? "\n\(lost) events were lost" : "")
    }

    /// For a log: what there was most of.
    var line: String {
        var text = "\(total) events, \(rateText(new)) a second"
        if lost > 0 { text += ", \(lost) lost" }
        for row in rows.filter({ $0.new > 0 }).sorted(by: { ($1.new, $0.name) < ($0.new, $1.name) }) {
            let more = "\(text.contains(":") ? "," : ":") \(row.name) \(rateText(row.new))"
            guard text.count + more.count <= Self.width else { break }
            text += more
        }
        return text
    }
}

/// A terminal, in which a table takes the place of the one before.
struct Screen {
    static var isTerminal: Bool { isatty(STDOUT_FILENO) != 0 }
    private var lines = 0

    /// Lines that the terminal has.
    static var height: Int {
        var size = winsize()
        return ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0 && size.ws_row > 0 ? Int(size.ws_row) : 24
    }

    mutating func show(_ text: String) -> String {
        let back = lines > 0 ? "\u{1b}[\(lines)A\r\u{1b}[J" : ""
        lines = text.split(separator: "\n", omittingEmptySubsequences: false).count
        return back + text + "\n"
    }
}
