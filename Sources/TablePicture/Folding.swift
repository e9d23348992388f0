// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// Folds tables, of one side or of two beside each other, into runs.  Neighbouring tables that look alike to
/// their last entry are one run, however many they are: so a terabyte of memory fits on a page.
struct Folding {
    /// A page that lies elsewhere is a difference.
    let looksAtPages: Bool
    /// Looks of tables, numbered: two tables look alike if they have the same number.
    private var looks: [[Look]: Int] = [:]

    init(looksAtPages: Bool) { self.looksAtPages = looksAtPages }

    /// nil: no side has a table.
    mutating func fold(_ sides: [TableNode?]) -> (table: PictureTable, look: Int)? {
        guard let any = sides.compactMap(\.self).first else { return nil }
        var runs = RunBuilder(pages: any.pages, hole: Place(sides: sides.count))
        var entries = SideBySide(sides)
        while let (index, entries) = entries.takeNext() { runs.add(place(entries), at: index) }
        runs.finish()
        let isOneSided = sides.count == 2 && sides.contains { $0 == nil }
        let table = PictureTable(
            level: any.level, first: any.first, runs: runs.runs, totals: sides.map { $0?.totals ?? Totals() },
            differences: isOneSided ? 0 : runs.differences, onlySide: isOneSided ? sides.firstIndex { $0 != nil } : nil)
        let look = looks[runs.looks] ?? looks.count + 1
        looks[runs.looks] = look
        return (table, look)
    }

    private mutating func place(_ entries: [TableNode.Entry?]) -> Place {
        let child = fold(entries.map { $0?.child })
        var place = Place(sides: entries.count)
        place.cells = entries.map { $0?.cell ?? .hole }
        place.pfns = entries.map { $0?.pfn ?? 0 }
        place.contrast = contrast(place.cells, place.pfns)
        (place.child, place.look) = (child?.table, child?.look ?? 0)
        return place
    }

    private func contrast(_ cells: [Cell], _ pfns: [UInt64]) -> Contrast {
        guard cells.count == 2, cells[0] != cells[1] else {
            return looksAtPages && cells[0].kind == .leaf && pfns.count == 2 && pfns[0] != pfns[1] ? .elsewhere : .same
        }
        if cells[1].kind == .hole { return .onlyFirst }
        return cells[0].kind == .hole ? .onlySecond : .differs
    }
}

/// How a run looks.
private struct Look: Hashable {
    let count: Int
    let cells: [Cell]
    let contrast: Contrast
    let child: Int
}

/// One entry of all sides.
private struct Place {
    var cells: [Cell], pfns: [UInt64]
    var contrast = Contrast.same
    var child: PictureTable?
    /// The number of the child's look; 0: none.
    var look = 0

    /// A hole.
    init(sides: Int) {
        cells = [Cell](repeating: .hole, count: sides)
        pfns = [UInt64](repeating: 0, count: sides)
    }

    func isAlike(_ other: Place) -> Bool { look == other.look && contrast == other.contrast && cells == other.cells }
}

private struct RunBuilder {
    /// 4K pages under one entry.
    let pages: UInt64
    let hole: Place
    private(set) var runs: [PictureRun] = []
    private(set) var looks: [Look] = []
    private(set) var differences = 0
    /// The run that has begun; of a hole one place for all.
    private var places: [Place] = []
    private var start = 0, end = 0

    init(pages: UInt64, hole: Place) { (self.pages, self.hole) = (pages, hole) }

    mutating func add(_ place: Place, at index: Int) {
        if index > end {
            begin(hole)
            end = index
        }
        begin(place)
        places.append(place)
        end += 1
    }

    mutating func finish() {
        if end < Int(Paging.entries) {
            begin(hole)
            end = Int(Paging.entries)
        }
        close()
    }

    /// The next entry is this one: does it go on, or is it another run?
    private mutating func begin(_ place: Place) {
        if let last = places.last, last.isAlike(place) { return }
        close()
        if place.cells.allSatisfy({ $0.kind == .hole }) { places = [place] }
    }

    private mutating func close() {
        defer {
            places.removeAll(keepingCapacity: true)
            start = end
        }
        guard let first = places.first, end > start else { return }
        let count = end - start
        runs.append(PictureRun(start: start, count: count, sides: first.cells.indices.map(side), contrast: first.contrast,
                               child: first.child))
        looks.append(Look(count: count, cells: first.cells, contrast: first.contrast, child: first.look))
        differences += count * ((first.contrast == .same ? 0 : 1) + (first.child?.differences ?? 0))
    }

    private func side(_ side: Int) -> PictureRun.Side {
        let pfns = places.map { $0.pfns[side] }, neighbours = zip(pfns, pfns.dropFirst())
        return PictureRun.Side(cell: places[0].cells[side], firstPFN: pfns[0], lastPFN: pfns[pfns.count - 1],
                               isContiguous: neighbours.allSatisfy { $1 == $0 &+ pages }, isConstant: neighbours.allSatisfy { $1 == $0 })
    }
}
