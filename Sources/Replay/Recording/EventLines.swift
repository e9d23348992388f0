// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import KernelTrace

/// A line of ftrace for each of the library's events; marks that came in parts are one.
struct EventLines {
    private var ftrace = FtraceText()
    /// By thread: a mark that goes on.
    private var unfinished: [Int32: String] = [:]

    var events: [FtraceText.Event] { ftrace.events }
    var lines: [String] { ftrace.lines }
    var text: String { ftrace.text }

    /// `task` may name another task than the thread that the event happened in.
    mutating func add(_ event: tdpmmu_trace_event, task: Int? = nil) {
        let task = task ?? Int(event.thread)
        guard event.id == UInt16(TDPMMU_TRACE_MARK.rawValue) else {
            return ftrace.add(TraceText.name(event), TraceText.text(event), task: task, cpu: Int(event.cpu))
        }
        let text = (unfinished.removeValue(forKey: event.thread) ?? "") + TraceText.part(event.mark)
        if event.mark.continues {
            unfinished[event.thread] = text
        } else {
            ftrace.add(TraceText.name(event), text, task: task, cpu: Int(event.cpu))
        }
    }

    /// What is no event of the library's.
    mutating func add(_ name: String, _ text: String, task: Int) { ftrace.add(name, text, task: task) }
}
