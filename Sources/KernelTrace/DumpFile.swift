// SPDX-License-Identifier: GPL-2.0-only

/// One entry of a recorded dump.
package struct DumpEntry: Equatable {
    package enum Kind: String {
        case leaf, table, nonpresent
    }

    package var line: Int
    package var level: Int
    package var gfn: UInt64
    package var spte: UInt64
    package var kind: Kind
    /// Host-physical address of the entry itself.
    package var address: UInt64

    package init(line: Int, level: Int, gfn: UInt64, spte: UInt64, kind: Kind, address: UInt64) {
        (self.line, self.level, self.gfn, self.spte, self.kind, self.address) = (line, level, gfn, spte, kind, address)
    }
}

/// All the tables under one root, as they were read from the machine's memory.
package struct Dump: Equatable {
    package var line: Int
    package var id: Int
    package var root: UInt64
    package var rootLevel: Int
    package var entries: [DumpEntry] = []
}

/// The file of dumps beside a trace.
package struct DumpFile {
    package var file: String
    package private(set) var dumps: [Int: Dump] = [:]

    package init(file: String) throws(BadInput) {
        try self.init(file: file, bytes: try FileBytes.read(file))
    }

    package init(file: String, bytes: [UInt8]) throws(BadInput) {
        self.file = file
        if let problem = bytes.withUnsafeBufferPointer({ parse($0) }) { throw problem }
    }

    /// The dump file of a trace: X.npt.txt or X.npt.txt.gz beside X.txt or X.txt.gz; none beside standard input.
    package static func candidates(besides trace: String) -> [String] {
        if trace == FileBytes.standardInput { return [] }
        var stem = trace[...]
        if stem.hasSuffix(".gz") { stem = stem.dropLast(3) }
        if stem.hasSuffix(".txt") { stem = stem.dropLast(4) }
        return ["\(stem).npt.txt", "\(stem).npt.txt.gz"]
    }

    package static func isOneByName(_ file: String) -> Bool { file.hasSuffix(".npt.txt") || file.hasSuffix(".npt.txt.gz") }

    private mutating func parse(_ bytes: UnsafeBufferPointer<UInt8>) -> BadInput? {
        var cursor = ByteCursor(bytes, from: 0, to: bytes.count)
        var open: Dump?
        var number = 0
        while let (text, isComplete) = cursor.nextLine() {
            number += 1
            var line = text
            let problem = isComplete ? take(&line, number, &open) : "the last line is cut short"
            if let problem { return BadInput(file: file, line: number, problem: problem) }
        }
        guard let open else { return nil }
        return BadInput(file: file, line: number, problem: "dump \(open.id) has no END: the file is cut short")
    }

    private mutating func take(_ line: inout ByteCursor, _ number: Int, _ open: inout Dump?) -> String? {
        let problem = "this is no line of a dump file"
        if line.skip("SPTE ") {
            guard let entry = Self.entry(&line, number) else { return problem }
            guard open != nil else { return "an entry outside a dump" }
            open?.entries.append(entry)
            return nil
        }
        if line.skip("DUMP ") {
            guard open == nil else { return "a dump inside a dump" }
            guard let dump = Self.dump(&line, number) else { return problem }
            guard dumps[dump.id] == nil else { return "a second dump \(dump.id)" }
            open = dump
            return nil
        }
        guard line.skip("END "), let dump = open else { return problem }
        open = nil
        return end(dump, &line)
    }

    private mutating func end(_ dump: Dump, _ line: inout ByteCursor) -> String? {
        guard let fields = MarkerFields(&line), let id = fields.integer("id"),
            let count = fields.integer("n")
        else { return "this is no line of a dump file" }
        guard id == dump.id else { return "END of dump \(id) inside dump \(dump.id)" }
        guard count == dump.entries.count else {
            return "dump \(id) has \(dump.entries.count) of \(count) entries"
        }
        dumps[id] = dump
        return nil
    }

    private static func dump(_ line: inout ByteCursor, _ number: Int) -> Dump? {
        guard let fields = MarkerFields(&line), let id = fields.integer("id"),
            let root = fields.number("root"), let level = fields.integer("root_level")
        else { return nil }
        return Dump(line: number, id: id, root: root, rootLevel: level)
    }

    private static func entry(_ line: inout ByteCursor, _ number: Int) -> DumpEntry? {
        guard line.skip("level="), let level = line.integer(),
            line.skip(" gfn="), let gfn = line.hex(), line.skip(" spte="), let spte = line.hex(),
            line.skip(" kind="), let kind = DumpEntry.Kind(rawValue: line.word(until: .space)),
            line.skip(" sptep="), let address = line.hex(), line.isAtEnd
        else { return nil }
        return DumpEntry(
            line: number, level: level, gfn: gfn, spte: spte, kind: kind, address: address)
    }
}
