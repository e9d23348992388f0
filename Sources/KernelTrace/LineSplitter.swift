// SPDX-License-Identifier: GPL-2.0-only

/// Cuts text that comes in pieces into lines.  It keeps no more of it than the line that has begun.
struct LineSplitter {
    /// The beginning of a line whose end has not come.
    private var begun: [UInt8] = []

    /// Calls `take` with each line that ends in `piece`; stops at the first problem.
    mutating func take(_ piece: UnsafeBufferPointer<UInt8>, _ take: (ByteCursor) -> BadInput?) -> BadInput? {
        var cursor = ByteCursor(piece, from: 0, to: piece.count)
        if !begun.isEmpty, let problem = finish(&cursor, take) { return problem }
        while let (line, isComplete) = cursor.nextLine() {
            guard isComplete else {
                begun.append(contentsOf: piece.suffix(line.count))
                return nil
            }
            if let problem = take(line) { return problem }
        }
        return nil
    }

    /// Did the text end within a line?
    var isInLine: Bool { !begun.isEmpty }

    /// The line that an earlier piece began.
    private mutating func finish(_ cursor: inout ByteCursor, _ take: (ByteCursor) -> BadInput?) -> BadInput? {
        guard let (line, isComplete) = cursor.nextLine() else { return nil }
        line.append(to: &begun)
        guard isComplete else { return nil }
        defer { begun.removeAll(keepingCapacity: true) }
        return begun.withUnsafeBufferPointer { take(ByteCursor($0, from: 0, to: $0.count)) }
    }
}
