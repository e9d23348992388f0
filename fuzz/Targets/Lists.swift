// SPDX-License-Identifier: GPL-2.0-only
import OperationLists

/// A list of operations as text: read, written, read again, and performed in this process, right or wrong.
/// -1 for what no list is, or takes more time or memory than a fuzzer has: such an input is not kept.
@_cdecl("tdpmmu_fuzz_list")
public func fuzzList(_ data: UnsafePointer<UInt8>?, _ size: Int) -> Int32 {
    guard let list = try? OperationList(file: "input", bytes: bytes(data, size)) else { return -1 }
    let again = try? OperationList(file: "again", bytes: Array(list.text.utf8))
    precondition(again?.text == list.text, "a list that was written reads as another")
    guard isCheap(list) else { return -1 }
    let performer = Performer(list.setup)
    for operation in list.operations { _ = performer.perform(operation) }
    _ = performer.finish()
    return 0
}

/// The most pages that an operation is about, and all together: each could be a fault or a bit of a log.
private let mostPages: UInt64 = 1 << 16
private let mostOperations = 300

private func isCheap(_ list: OperationList) -> Bool {
    guard list.operations.count <= mostOperations else { return false }
    var pages: UInt64 = 0
    for operation in list.operations {
        let count = switch operation.kind {
        case .slot: operation.arguments[3]
        case .prefault, .clearlog: operation.arguments[2]
        case .hw: operation.arguments.count > 3 ? operation.arguments[3] : 1
        default: UInt64(1)
        }
        pages += min(count, mostPages + 1)
    }
    return pages <= mostPages
}

func bytes(_ data: UnsafePointer<UInt8>?, _ size: Int) -> [UInt8] {
    Array(UnsafeBufferPointer(start: data, count: data == nil ? 0 : size))
}
