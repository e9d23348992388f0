// SPDX-License-Identifier: GPL-2.0-only

/// A trace file, every line of it understood.
package struct Trace {
    package var file: String
    /// Lines that matter to a replay, in the file's order.
    package var lines: [TraceLine] = []
    /// Number of lines of the file.
    package var lineCount = 0
    /// Of the recorded machine, if the file says so.
    package fileprivate(set) var processors: Int?

    package init(file: String) throws(BadInput) {
        self.file = file
        var reader = TraceReader(), result = self
        let problem = try FileBytes.forEachChunk(file) { reader.take($0, &result) }
        self = result
        if let problem { throw badInput(lineCount + 1, problem) }
        if let problem = reader.finish(&self) { throw problem }
    }

    package init(file: String, bytes: [UInt8]) throws(BadInput) {
        self.file = file
        var reader = TraceReader()
        let problem = bytes.withUnsafeBufferPointer { reader.take($0, &self) }
        if let problem = problem ?? reader.finish(&self) { throw problem }
    }

    package func badInput(_ line: Int, _ problem: String) -> BadInput {
        BadInput(file: file, line: line, problem: problem)
    }

    /// Adds a line; returns what is wrong with it.
    fileprivate mutating func take(_ line: ByteCursor, _ header: inout TraceHeader) -> String? {
        if line.peek == UInt8(ascii: "#") { return header.take(line) }
        header.events += 1
        guard let columns = FtraceLine(line) else { return Self.complaint(about: line) }
        guard let event = EventParser.parse(columns) else {
            return EventParser.isKnown(columns.event)
                ? "cannot read this \(columns.event) line"
                : "unknown event \(Self.quoted(columns.event))"
        }
        if event != .note {
            lines.append(TraceLine(number: lineCount, task: columns.task, event: event))
        }
        return nil
    }

    private static func complaint(about line: ByteCursor) -> String {
        let text = line.rest
        if text.hasPrefix("DUMP ") { return "this is a dump file; name the trace beside it" }
        if text.contains("LOST") { return "the recorder lost events here" }
        return line.isTextToTheEnd ? "this is no line of an ftrace text" : "binary data"
    }

    private static func quoted(_ name: String) -> String {
        let printable = name.utf8.allSatisfy(\.isTextual) && name.utf8.count <= 40
        return printable ? "\"\(name)\"" : "(not printable)"
    }
}

/// Reads a trace from pieces of its text, which is not kept.
private struct TraceReader {
    private var lines = LineSplitter()
    private var header = TraceHeader()

    mutating func take(_ piece: UnsafeBufferPointer<UInt8>, _ trace: inout Trace) -> BadInput? {
        lines.take(piece) { line in
            trace.lineCount += 1
            return trace.take(line, &header).map { trace.badInput(trace.lineCount, $0) }
        }
    }

    /// All has come.
    func finish(_ trace: inout Trace) -> BadInput? {
        if lines.isInLine { return trace.badInput(trace.lineCount + 1, "the last line is cut short") }
        guard trace.lineCount > 0 else { return trace.badInput(1, "the file is empty") }
        trace.processors = header.processors
        return header.problem(lines: trace.lineCount).map { trace.badInput(trace.lineCount, $0) }
    }
}

/// The comment lines at the top, which say how many events follow.
struct TraceHeader {
    var events = 0
    private var promised: Int?
    private(set) var processors: Int?

    mutating func take(_ line: ByteCursor) -> String? {
        var text = line
        guard text.isTextToTheEnd else { return "binary data" }
        guard text.skip("# entries-in-buffer/entries-written: ") else { return nil }
        guard let kept = text.integer(), text.skip("/"), let written = text.integer() else {
            return "cannot read the number of entries"
        }
        guard kept == written else { return "the recorder lost \(written) - \(kept) events" }
        promised = kept
        text.skipBlanks()
        if text.skip("#P:") { processors = text.integer() }
        return nil
    }

    func problem(lines: Int) -> String? {
        guard events > 0 else { return "the file has no events" }
        guard let promised, promised != events else { return nil }
        return "the trace has \(events) of \(promised) events: it is cut short or was edited"
    }
}
