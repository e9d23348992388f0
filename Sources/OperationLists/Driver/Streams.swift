// SPDX-License-Identifier: GPL-2.0-only
import Glibc
import KernelTrace
import LibraryClient

/// The streams of another process, on this side closed when a program is executed.
struct Streams {
    /// There, for answers.
    static let answers: Int32 = 4

    /// Here, and there.
    private var input: (writing: Int32, reading: Int32)
    private var output: (reading: Int32, writing: Int32)
    private let errorFile: Int32

    init() throws(BadInput) {
        let toIt = try Self.pipe(), fromIt = try Self.pipe()
        input = (toIt.writing, toIt.reading)
        output = (fromIt.reading, fromIt.writing)
        errorFile = Self.temporaryFile()
    }

    /// What a library prints on standard output is no answer: answers have a descriptor of their own.
    var theirs: [(number: Int32, source: Int32)] {
        [(STDIN_FILENO, input.reading), (STDOUT_FILENO, errorFile), (STDERR_FILENO, errorFile),
         (Self.answers, output.writing)]
    }
    var toIt: Int32 { input.writing }
    var fromIt: Int32 { output.reading }

    /// The other process has its own by now.
    mutating func closeTheirs() {
        close(input.reading)
        close(output.writing)
        (input.reading, output.writing) = (-1, -1)
    }

    func closeAll() {
        for descriptor in [input.writing, input.reading, output.reading, output.writing, errorFile] where descriptor >= 0 {
            close(descriptor)
        }
    }

    func setNonblocking() {
        for descriptor in [toIt, fromIt] { _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK) }
    }

    /// The end of what it wrote on standard error, as one line.
    var errorText: String {
        var buffer = [UInt8](repeating: 0, count: 2000)
        let size = lseek(errorFile, 0, SEEK_END)
        let count = pread(errorFile, &buffer, buffer.count, max(0, size - buffer.count))
        let lines = buffer.prefix(max(0, count)).split(separator: 10).suffix(3)
        return lines.map { String(decoding: $0, as: UTF8.self) }.joined(separator: " | ")
    }

    private static func pipe() throws(BadInput) -> (reading: Int32, writing: Int32) {
        var ends: [Int32] = [-1, -1]
        guard Glibc.pipe(&ends) == 0 else {
            throw BadInput(file: "pipe", line: 0, problem: String(cString: strerror(errno)))
        }
        return (Descriptor.outOfTheWay(ends[0]), Descriptor.outOfTheWay(ends[1]))
    }

    /// Without a name; where there is room for none, nothing is kept.
    private static func temporaryFile() -> Int32 {
        let folder = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
        var path = Array("\(folder)/tdpmmuctl.XXXXXX".utf8CString)
        let file = mkstemp(&path)
        guard file >= 0 else { return Descriptor.outOfTheWay(open("/dev/null", O_RDWR)) }
        unlink(path)
        return Descriptor.outOfTheWay(file)
    }
}
