// SPDX-License-Identifier: GPL-2.0-only

/// What goes through the pipes between the tool and a process that performs lists, line by line.
///
///     to it:   perform - | perform N        N: the answer that is to be shown in full
///              the list's lines
///              .
///     from it: ready VERSION                once, at the start
///              an answer for the VM's making, one for each operation, one for its end;
///              behind the one that is to be shown, its details, each behind a tab
///              .
enum DriverProtocol {
    static let ready = "ready"
    static let perform = "perform"
    static let nothingShown = "-"
    static let end = "."
    static let detail: Character = "\t"

    static func request(_ list: OperationList, showing index: Int?) -> [UInt8] {
        Array("\(perform) \(index.map(String.init) ?? nothingShown)\n\(list.text)\(end)\n".utf8)
    }
}
