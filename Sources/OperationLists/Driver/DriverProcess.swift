// SPDX-License-Identifier: GPL-2.0-only
import Glibc
import KernelTrace
import LibraryClient

/// A process that performs lists with one library.  Lists wait in line, so that it always has one to do; if it
/// ends, or does not come forward, in the middle of one, that is its reply, and a new process does the next.
package final class DriverProcess {
    package let name: String
    package private(set) var version = ""
    /// Complete replies, oldest first.
    package private(set) var replies: [Reply] = []

    private let library: LibraryFile?
    /// A process that has been silent for so long hangs.
    package var patienceSeconds: Int
    private var running: Running?
    /// Requests without a reply, oldest first.
    private var requests: [[UInt8]] = []
    private var unsent: ArraySlice<UInt8> = []
    private var received: [UInt8] = []
    /// Where the line begins that is looked at next.
    private var lineStart = 0
    private var silence = Silence()

    private struct Running {
        var process: ToolProcess
        var streams: Streams
    }

    /// library: nil for this tool's own.
    package init(library: LibraryFile?, name: String, patienceSeconds: Int) throws(BadInput) {
        (self.library, self.name, self.patienceSeconds) = (library, name, patienceSeconds)
        // A library that ends its process shall not end this one.
        signal(SIGPIPE, SIG_IGN)
        try start()
    }

    deinit { stop() }

    package var waiting: Int { requests.count }

    package func perform(_ list: OperationList, _ manner: PerformingManner) {
        let request = DriverProtocol.request(list, manner)
        if requests.isEmpty { silence.end() }
        requests.append(request)
        unsent += request
    }

    package func takeReply() -> Reply? { replies.isEmpty ? nil : replies.removeFirst() }
}

/// Its life.
extension DriverProcess {
    private func start() throws(BadInput) {
        let arguments = [DriverCommandName.hidden] + (library == nil ? [] : ["--\(LibraryFile.isPreloadedFlag)"])
        var streams = try Streams()
        do throws(BadInput) {
            let process = try ToolProcess(arguments: arguments, library: library, streams: streams.theirs)
            streams.closeTheirs()
            streams.setNonblocking()
            running = Running(process: process, streams: streams)
        } catch {
            streams.closeAll()
            throw error
        }
        let line = try readyLine()
        version = String(decoding: line.dropFirst(DriverProtocol.ready.utf8.count + 1), as: UTF8.self)
        received = []
        lineStart = 0
        silence.end()
    }

    /// Byte by byte: nothing else comes before a request.
    private func readyLine() throws(BadInput) -> [UInt8] {
        guard let running else { return [] }
        var line: [UInt8] = [], byte: UInt8 = 0
        silence.end()
        while true {
            let count = read(running.streams.fromIt, &byte, 1)
            if count < 0, errno == EINTR { continue }
            if count < 0, errno == EAGAIN {
                if isStuck(running) { throw refusal("its process did not come forward: \(endStuck(running))") }
                var place = pollfd(fd: running.streams.fromIt, events: Int16(POLLIN), revents: 0)
                poll(&place, 1, Self.pollMilliseconds)
                continue
            }
            guard count == 1 else { throw refusal(ended: running.process.wait()) }
            if byte == 10 { return line }
            line.append(byte)
        }
    }

    private func refusal(ended end: ProcessEnd) -> BadInput {
        refusal(end != .exited(ToolProcess.loaderFailed) && end != .exited(2) ? "its process \(end)" : nil)
    }

    private func refusal(_ how: String?) -> BadInput {
        let words = running?.streams.errorText ?? ""
        forget()
        var problem = library?.refused(how) ?? BadInput(file: name, line: 0, problem: how ?? "it could not be started")
        if !words.isEmpty { problem.problem += ": \(words)" }
        return problem
    }

    private func isStuck(_ running: Running) -> Bool {
        silence.isLongerThan(seconds: patienceSeconds, running.process.pid)
    }

    /// How it stood: the next one that is silent for no known reason shall tell it.
    private func endStuck(_ running: Running) -> String {
        let text = "\(silence.text); \(ThreadPlace.text(of: running.process.pid))"
        running.process.kill()
        return text
    }

    private func stop() {
        running?.process.kill()
        forget()
    }

    private func forget() {
        running?.streams.closeAll()
        running = nil
    }
}

/// Its pipes.
extension DriverProcess {
    private static let pollMilliseconds: Int32 = 1000

    /// Lets all go on until one of them has something new, or a second is over.
    package static func advance(_ drivers: [DriverProcess]) throws(BadInput) {
        var places: [pollfd] = []
        for driver in drivers {
            places.append(pollfd(fd: driver.running?.streams.fromIt ?? -1, events: Int16(POLLIN), revents: 0))
            let isSending = !driver.unsent.isEmpty
            places.append(pollfd(fd: isSending ? driver.running?.streams.toIt ?? -1 : -1, events: Int16(POLLOUT), revents: 0))
        }
        poll(&places, nfds_t(places.count), pollMilliseconds)
        for (index, driver) in drivers.enumerated() {
            if places[2 * index + 1].revents != 0 { driver.send() }
            if places[2 * index].revents != 0 { try driver.receive() }
            try driver.endIfStuck()
        }
    }

    private func send() {
        guard let running else { return }
        let count = unsent.withUnsafeBytes { write(running.streams.toIt, $0.baseAddress, $0.count) }
        if count > 0 { unsent = unsent.dropFirst(count) }
        // That it is gone shows where its answers end.
        if count < 0, errno == EPIPE { unsent = [] }
        if unsent.isEmpty { unsent = [] }
    }

    private func receive() throws(BadInput) {
        guard let running else { return }
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = read(running.streams.fromIt, &chunk, chunk.count)
            if count < 0, errno == EINTR { continue }
            if count < 0 { return }
            if count == 0 { return try fail("\(running.process.wait())") }
            silence.end()
            received += chunk.prefix(count)
            takeComplete()
        }
    }

    private func takeComplete() {
        let end = UInt8(ascii: ".")
        while let newline = received[lineStart...].firstIndex(of: 10) {
            guard newline == lineStart + 1, received[lineStart] == end else {
                lineStart = newline + 1
                continue
            }
            replies.append(Reply(text: Array(received[..<lineStart]), failure: nil))
            received.removeSubrange(...newline)
            lineStart = 0
            requests.removeFirst()
        }
    }

    private func endIfStuck() throws(BadInput) {
        guard let running, !requests.isEmpty, isStuck(running) else { return }
        try fail("did not come forward: \(endStuck(running))")
    }

    /// The oldest request is what it failed on; a new process gets the others.
    private func fail(_ how: String) throws(BadInput) {
        let words = running?.streams.errorText ?? ""
        forget()
        if !requests.isEmpty {
            requests.removeFirst()
            replies.append(Reply(text: Array(received[..<lineStart]), failure: words.isEmpty ? how : "\(how): \(words)"))
        }
        unsent = []
        for request in requests { unsent += request }
        try start()
    }
}
