// SPDX-License-Identifier: GPL-2.0-only
// Where SPTEs are written: here and nowhere else.
//
// Every write to an entry of a table that is linked, or was, goes through these steps, in this order:
//   1. the change is checked: one that must never happen is refused, and not made;
//   2. the entry is written, in the way that its lock and its volatile bits demand;
//   3. the write gives an UnsettledChange, which can neither be copied nor be forgotten
//      (MustSettle.swift): settle() tells the rig, counts, cares for the subtree, and owes a flush.
// So no other file can write an entry, and none can write one in silence.
import CPlatform
import CTDPMMU
import Sync
import Synchronization

/// The place of one SPTE in a table.
package struct SPTESlot: Equatable {
    private let word: UnsafeMutablePointer<Atomic<UInt64>>

    @inline(__always)
    package init(_ pointer: tdp_ptep_t) {
        word = UnsafeMutableRawPointer(pointer).assumingMemoryBound(to: Atomic<UInt64>.self)
    }

    /// Of the entry, for C; nothing is read or written by it.
    @inline(__always)
    package var address: UInt { UInt(bitPattern: word) }

    /// Where the entries begin of the table that it stands in.
    @inline(__always) package var tableEntries: UInt { address & ~4095 }

    /// Acquire: pairs with the release that linked a table, so that a reader who
    /// sees the link sees the table's entries.
    @inline(__always)
    package func load(_ protection: borrowing some KeepsTables & ~Copyable) -> SPTE {
        SPTE(word.pointee.load(ordering: .acquiring))
    }

    // Of these three only the other types of this file can make use.

    /// Release: pairs with load(); what the entry points to was written before.
    @inline(__always)
    fileprivate func store(_ new: SPTE) { word.pointee.store(new.raw, ordering: .releasing) }

    /// Both ways: the old value may name a table (acquire, pairs with the link),
    /// the new one may publish a table (release, pairs with load()).
    @inline(__always)
    fileprivate func exchange(_ new: SPTE) -> SPTE {
        SPTE(word.pointee.exchange(new.raw, ordering: .acquiringAndReleasing))
    }

    /// Replaces `old`, or returns what is there instead.  Orderings as for exchange().
    @inline(__always)
    fileprivate func replace(_ old: SPTE, with new: SPTE) -> SPTE? {
        let (done, seen) = word.pointee.compareExchange(
            expected: old.raw, desired: new.raw,
            successOrdering: .acquiringAndReleasing, failureOrdering: .acquiring)
        return done ? nil : SPTE(seen)
    }
}

/// What keeps the books on SPTEs (SPTEWriter, a fast fault's, the CPU model's): judges each change,
/// is told of it, counts it, and takes care of what it cuts off.
package protocol ChangeBook {
    /// How mmu_lock is held; .shared also where it is not held at all.
    var mode: LockMode { get }

    /// Why the change must never happen, or nil.
    func violation(of wish: SPTEChange) -> StaticString?
    /// May a CPU or a fast fault set a bit of this entry without mmu_lock?
    func hasVolatileBits(_ spte: SPTE) -> Bool
    /// Is it one of Accessed, Dirty or W alone?
    func isOfBits(_ wish: SPTEChange) -> Bool
    /// May a CPU remember what the change takes away?
    func takesAway(_ change: SPTEChange) -> Bool

    /// Eyes see the first step of a change that is made in two, which nobody else is told of.
    func showFrozen(_ change: SPTEChange, at slot: SPTESlot)
    /// wasFrozen: it was made in two steps, and this is the second.
    func tell(_ change: SPTEChange, at slot: SPTESlot, wasFrozen: Bool)
    /// The same of a change of bits (SPTEChange.isOfBits()): no page appears or vanishes.
    func tellBits(_ change: SPTEChange, at slot: SPTESlot)
    /// A table is cut off, and no way down leads into it from here on.  Before anybody is told of it.
    func tableIsCutOff()
    /// The table below is cut off for good: freeze its entries, free it after a grace period.
    func removeTable(_ change: SPTEChange)
    /// The change would have been illegal, and was not made.
    func refuse(_ wish: SPTEChange, because reason: StaticString)
}

/// What keeps the book of leaves that go where nothing is, or get rights.
package protocol FillBook: ChangeBook {
    /// A short look, which finds what faults make legal.
    func isPlainLeaf(_ wish: SPTEChange) -> Bool
}

/// A change that has been made, and is not told, counted or followed up yet.
@frozen
package struct UnsettledChange: ~Copyable {
    private let change: SPTEChange
    private let slot: SPTESlot
    /// It is the second step of two, and was seen to be frozen.
    private let wasFrozen: Bool

    @inline(__always)
    fileprivate init(_ change: SPTEChange, at slot: SPTESlot, wasFrozen: Bool = false) {
        self.change = change
        self.slot = slot
        self.wasFrozen = wasFrozen
    }

    /// The book tells and counts it, the subtree that it cut off is removed, and a
    /// flush is owed if a CPU may remember what is gone.
    @inline(__always)
    fileprivate consuming func settle(with book: some ChangeBook, owing flush: inout OwedFlush) -> ChangeResult {
        let change = change, slot = slot, wasFrozen = wasFrozen
        discard self
        if change.removesTable { book.tableIsCutOff() }
        book.tell(change, at: slot, wasFrozen: wasFrozen)
        if change.removesTable {
            book.removeTable(change)
            flush.oweForTable()
        } else if book.takesAway(change) {
            flush.owe()
        }
        return .made(from: change.old)
    }

    /// The same for a change of bits, about which there is less to say.
    @inline(__always)
    fileprivate consuming func settleBits(with book: some ChangeBook, owing flush: inout OwedFlush) -> ChangeResult {
        let change = change, slot = slot
        discard self
        book.tellBits(change, at: slot)
        if book.takesAway(change) { flush.owe() }
        return .made(from: change.old)
    }

    deinit { mustBeSettled() }
}

/// What came of a wish to change an entry.
package enum ChangeResult {
    /// The new value is in place, and is told; this was there before.
    case made(from: SPTE)
    /// Another thread changed the entry first; this is what it holds.
    case lost(SPTE)
    /// Illegal: the book was told, the entry is as it was.
    case refused
}

extension SPTESlot {
    /// Makes a change as the book's lock demands: under a shared lock by one
    /// compare-and-exchange against the old value; under an exclusive one by a store, or by an
    /// exchange where a CPU may set a bit between our look and our write.
    @inline(__always)
    package func change(
        _ wish: SPTEChange, in book: some ChangeBook, owing flush: inout OwedFlush
    ) -> ChangeResult {
        guard book.mode == .exclusive else { return changeAmongOthers(wish, in: book, owing: &flush) }
        guard isLegal(wish, in: book) else { return .refused }
        return writeAlone(wish, in: book).settle(with: book, owing: &flush)
    }

    /// The same of a leaf that goes, which is always legal.
    @inline(__always)
    package func empty(
        leaf: SPTE, _ place: (addressSpace: Int32, gfn: GFN, level: Level), in book: some ChangeBook,
        owing flush: inout OwedFlush
    ) -> ChangeResult {
        let wish = SPTEChange(
            addressSpace: place.addressSpace, gfn: place.gfn, level: place.level, old: leaf, new: .nonPresent)
        guard book.mode != .exclusive else { return writeAlone(wish, in: book).settle(with: book, owing: &flush) }
        if let seen = replace(leaf, with: .nonPresent) { return .lost(seen) }
        return UnsettledChange(wish, at: self).settle(with: book, owing: &flush)
    }

    /// The same under any lock or none, where a fault, a fast fault, aging or a CPU may be
    /// changing the entry at this moment.
    @inline(__always)
    package func changeAmongOthers(
        _ wish: SPTEChange, in book: some ChangeBook, owing flush: inout OwedFlush
    ) -> ChangeResult {
        guard isLegal(wish, in: book) else { return .refused }
        // A frozen entry belongs to the thread that froze it.
        guard !wish.old.isFrozen else { return .lost(wish.old) }
        if let seen = replace(wish.old, with: wish.new) { return .lost(seen) }
        return UnsettledChange(wish, at: self).settle(with: book, owing: &flush)
    }

    /// The same of a plain leaf where nothing is: nothing is cut off, no CPU remembers anything.  nil: it is no
    /// plain one, and change() judges it.
    @inline(__always)
    package func fill(
        with leaf: SPTE, _ place: (addressSpace: Int32, gfn: GFN, level: Level), in book: some FillBook
    ) -> ChangeResult? {
        let wish = SPTEChange(
            addressSpace: place.addressSpace, gfn: place.gfn, level: place.level, old: .nonPresent, new: leaf)
        return book.isPlainLeaf(wish) ? addAmongOthers(wish, in: book) : nil
    }

    /// The same of a leaf that gets more rights and loses nothing, to be a plain one: nothing is owed.  nil: it is
    /// not that, and change() judges it.
    @inline(__always)
    package func permit(
        _ new: SPTE, over old: SPTE, _ place: (addressSpace: Int32, gfn: GFN, level: Level), in book: some FillBook
    ) -> ChangeResult? {
        let wish = SPTEChange(
            addressSpace: place.addressSpace, gfn: place.gfn, level: place.level, old: old, new: new)
        return wish.onlyPermits && book.isPlainLeaf(wish) ? addAmongOthers(wish, in: book) : nil
    }

    /// What both have found to be legal, and to take nothing away.
    @inline(__always)
    private func addAmongOthers(_ wish: SPTEChange, in book: some FillBook) -> ChangeResult {
        if let seen = replace(wish.old, with: wish.new) { return .lost(seen) }
        var flush = OwedFlush(neverBecause: "nothing is taken away")
        let result = UnsettledChange(wish, at: self).settle(with: book, owing: &flush)
        flush.forgo(because: "nothing is taken away")
        return result
    }

    /// The same for bits of a leaf that stays: short, since aging and dirty logs do it by the
    /// million.  Under an exclusive lock a store where no CPU and no fast fault can set a bit meanwhile.
    /// Aging may, and clears Accessed by what is stored over: then the page looks used once more.
    @inline(__always)
    package func changeBits(
        _ wish: SPTEChange, in book: some ChangeBook, owing flush: inout OwedFlush
    ) -> ChangeResult {
        guard book.isOfBits(wish) else { return changeAmongOthersOutOfLine(wish, in: book, &flush) }
        return changeOnlyBits(wish, in: book, owing: &flush)
    }

    /// The same where that is known: isOfBits().
    @inline(__always)
    package func changeOnlyBits(
        _ wish: SPTEChange, in book: some ChangeBook, owing flush: inout OwedFlush
    ) -> ChangeResult {
        if book.mode == .exclusive && !book.hasVolatileBits(wish.old) {
            store(wish.new)
            return UnsettledChange(wish, at: self).settleBits(with: book, owing: &flush)
        }
        if let seen = replace(wish.old, with: wish.new) { return .lost(seen) }
        return UnsettledChange(wish, at: self).settleBits(with: book, owing: &flush)
    }

    @inline(never)
    private func changeAmongOthersOutOfLine(
        _ wish: SPTEChange, in book: some ChangeBook, _ flush: inout OwedFlush
    ) -> ChangeResult {
        changeAmongOthers(wish, in: book, owing: &flush)
    }

    /// Takes an entry away in two steps, so that no other thread fills it before the CPUs have
    /// forgotten what it mapped: frozen, then `forget`, then empty.
    @inline(__always)
    package func emptyThroughFrozen(
        _ wish: SPTEChange, in book: some ChangeBook, forget: () -> Void
    ) -> ChangeResult {
        guard isLegal(wish, in: book) else { return .refused }
        guard !wish.old.isFrozen else { return .lost(wish.old) }
        if let seen = replace(wish.old, with: .frozen) { return .lost(seen) }
        book.showFrozen(wish, at: self)
        if wish.removesTable { book.tableIsCutOff() }
        forget()
        store(wish.new)
        var flush = OwedFlush()
        let result = UnsettledChange(wish, at: self, wasFrozen: true).settle(with: book, owing: &flush)
        flush.forgo(because: "the CPUs forgot it while it was frozen")
        return result
    }

    /// Freezes an entry of a table that is cut off already.
    @inline(__always)
    package func freeze(
        _ place: (addressSpace: Int32, gfn: GFN, level: Level), in book: some ChangeBook,
        _ protection: borrowing some KeepsTables & ~Copyable, owing flush: inout OwedFlush
    ) {
        let old = book.mode == .shared ? takeFromOthers() : load(protection)
        let wish = SPTEChange(
            addressSpace: place.addressSpace, gfn: place.gfn, level: place.level, old: old, new: .frozen)
        let change = book.mode == .shared ? UnsettledChange(wish, at: self) : writeAlone(wish, in: book)
        _ = change.settle(with: book, owing: &flush)
    }

    @inline(__always)
    fileprivate func isLegal(_ wish: SPTEChange, in book: some ChangeBook) -> Bool {
        guard let reason = book.violation(of: wish) else { return true }
        book.refuse(wish, because: reason)
        return false
    }

    /// Only CPUs write beside us.
    @inline(__always)
    private func writeAlone(_ wish: SPTEChange, in book: some ChangeBook) -> UnsettledChange {
        guard wish.old.isLeaf(at: wish.level) && book.hasVolatileBits(wish.old) else {
            store(wish.new)
            return UnsettledChange(wish, at: self)
        }
        let old = exchange(wish.new)
        return UnsettledChange(SPTEChange(
            addressSpace: wish.addressSpace, gfn: wish.gfn, level: wish.level, old: old, new: wish.new), at: self)
    }

    /// Nobody else makes a page or a table come or go here, and bits are of no interest any more.
    @inline(__always)
    fileprivate func takeAlone() -> SPTE {
        let old = SPTE(word.pointee.load(ordering: .relaxed))
        store(.frozen)
        return old
    }

    /// Under a shared lock faults and walks of other threads may still be changing entries of the
    /// table.  One that emptyThroughFrozen() has frozen is that thread's until it lets go.
    @inline(__always)
    fileprivate func takeFromOthers() -> SPTE {
        while true {
            let taken = exchange(.frozen)
            if !taken.isFrozen { return taken }
            cp_cpu_relax()
        }
    }
}

/// What a row of entries is to become: those that are leaves, and have a bit, lose it or go.
package struct RowChange {
    /// An entry is meant if this is what it has of `mask`.
    fileprivate let value: UInt64
    fileprivate let clears: UInt64
    /// Instead of it.
    fileprivate let last: SPTE?

    /// Leaves that have a bit, one of Accessed, Dirty and W, lose it.
    @inline(__always)
    package init(clearing bit: UInt64) {
        value = SPTE.mmuPresent | bit
        clears = bit
        last = nil
    }

    /// Leaves go, and nothing is there, or in a table that is cut off the frozen value.
    @inline(__always)
    package init(leaving last: SPTE) {
        value = SPTE.mmuPresent
        clears = 0
        self.last = last
    }

    /// All bits of `value` are to be set.
    @inline(__always) fileprivate var mask: UInt64 { value }

    @inline(__always) fileprivate func means(_ spte: SPTE) -> Bool { spte.raw & mask == value }

    @inline(__always)
    fileprivate func new(for old: SPTE) -> SPTE { last ?? SPTE(old.raw & ~clears) }

    /// The same of words.
    @inline(__always)
    fileprivate var ofWords: cp_word_change {
        cp_word_change(mask: mask, value: value, keep: last == nil ? ~clears : 0, set: last?.raw ?? 0)
    }

    /// The same of those words that have also `bits` in common with `example`, which is meant.
    @inline(__always)
    fileprivate func ofWords(like example: SPTE, in bits: UInt64) -> cp_word_change {
        var change = ofWords
        change.mask |= bits
        change.value = example.raw & change.mask
        return change
    }
}

/// What keeps the book of changes that are made by the row, and told to nobody one by one.
package protocol RowBook: ChangeBook {
    /// Two entries that have these bits in common are volatile both or neither.
    var volatilityBits: UInt64 { get }

    /// So many entries of a table of 4K leaves changed; `gone`: so many leaves are none any more.
    func tellRow(_ count: Int, gone: Int)
}

/// Changes of a row that have been made, and are not counted yet.
@frozen
package struct UnsettledRow: ~Copyable {
    private let change: RowChange
    private var count = 0

    @inline(__always)
    fileprivate init(_ change: RowChange) { self.change = change }

    @inline(__always)
    fileprivate mutating func add(_ changes: Int = 1) { count &+= changes }

    /// As UnsettledChange.settle(), of leaves.  `first`: one of them, which stands for all.
    @inline(__always)
    fileprivate consuming func settle(
        as first: SPTEChange?, with book: some RowBook, owing flush: inout OwedFlush
    ) -> Int {
        let count = count, change = change
        discard self
        guard count != 0, let first else { return 0 }
        book.tellRow(count, gone: change.last == nil ? 0 : count)
        if book.takesAway(first) { flush.owe() }
        return count
    }

    deinit { mustBeSettled() }
}

/// Entries of a table of 4K leaves, side by side.
package struct SPTERow {
    private let first: UInt
    private let count: Int
    /// Which of them are meant, from the first on, where they are no more than 64.
    private let named: UInt64

    /// From this entry on, so many of its table; or those of them that bits name.
    @inline(__always)
    package init(from slot: SPTESlot, count: Int, named: UInt64 = .max) {
        first = slot.address
        self.count = count
        self.named = named
    }

    private static var blockBytes: UInt { 512 }

    /// Visits the entries that have `value` of `mask` when 64 of them are looked at at once.  False if a visit
    /// stopped it, by false.  `together` has them before, so many as there are: it returns which of them it took, or nil
    /// to stop.
    @inline(__always)
    private func forEach(
        _ mask: UInt64, _ value: UInt64, together: (UnsafeMutablePointer<UInt64>, UInt64) -> UInt64? = { _, _ in 0 },
        _ visit: (SPTESlot) -> Bool
    ) -> Bool {
        var block = first & ~(Self.blockBytes &- 1), skipped = Int((first &- block) &>> 3), left = count
        var named = named
        while left > 0 {
            let words = UnsafeMutablePointer<UInt64>(bitPattern: block).unsafelyUnwrapped
            let here = min(64 &- skipped, left)
            var found = cp_match_64(words, mask, value) &>> UInt64(truncatingIfNeeded: skipped)
            if here < 64 { found &= 1 &<< UInt64(truncatingIfNeeded: here) &- 1 }
            if named != .max {
                found &= named
                named = here < 64 ? named &>> UInt64(truncatingIfNeeded: here) : 0
            }
            if found != 0 {
                guard let taken = together(words, found &<< UInt64(truncatingIfNeeded: skipped)) else { return false }
                found &= ~(taken &>> UInt64(truncatingIfNeeded: skipped))
            }
            while found != 0 {
                guard visit(SPTESlot(words + (skipped &+ found.trailingZeroBitCount))) else { return false }
                found &= found &- 1
            }
            left &-= here
            skipped = 0
            block &+= Self.blockBytes
        }
        return true
    }

    /// Has any leaf the bit?
    @inline(__always)
    package func hasLeaf(with bit: UInt64, _ protection: borrowing some KeepsTables & ~Copyable) -> Bool {
        let wanted = RowChange(clearing: bit)
        return !forEach(wanted.mask, wanted.value) { !wanted.means($0.load(protection)) }
    }

    /// Makes leaves go whose bits nobody will look at, where no other thread makes any come or go: in plain stores, which
    /// win over whoever sets or clears a bit beside them.
    @inline(__always)
    private func replaceAlone(
        _ change: RowChange, by last: SPTE, in book: some RowBook, _ protection: borrowing some KeepsTables & ~Copyable,
        owing flush: inout OwedFlush
    ) -> Int {
        var row = UnsettledRow(change), first: SPTEChange?
        _ = forEach(change.mask, change.value) { slot in
            if first == nil {
                let wish = SPTEChange(addressSpace: 0, gfn: GFN(0), level: .page4K, old: slot.load(protection), new: last)
                guard slot.isLegal(wish, in: book) else { return false }
                first = wish
            }
            slot.store(last)
            row.add()
            return true
        }
        return row.settle(as: first, with: book, owing: &flush)
    }

    /// Makes the change of every entry that is meant, each as SPTESlot.change() and changeBits() would; returns of
    /// how many.  One legality stands for all: they are leaves that go, or lose one of Accessed, Dirty and W.  The first is
    /// changed alone; those that a plain store is enough for as for it go in one loop, and neighbours that owe a locked
    /// operation share one, where the CPU can.
    @inline(never)
    package func change(
        _ change: RowChange, in book: some RowBook, _ protection: borrowing some KeepsTables & ~Copyable,
        owing flush: inout OwedFlush
    ) -> Int {
        if let last = change.last, book.mode == .exclusive {
            return replaceAlone(change, by: last, in: book, protection, owing: &flush)
        }
        var row = UnsettledRow(change), first: SPTEChange?
        let byPairs = cp_changes_pairs()
        _ = forEach(change.mask, change.value, together: { words, found in
            var taken: UInt64 = 0
            if first == nil {
                taken = found & (0 &- found)
                let slot = SPTESlot(words + found.trailingZeroBitCount)
                guard replace(slot, change, in: book, protection, &row, &first) else { return nil }
            }
            guard let first else { return taken }
            let changed: UInt64
            if book.mode == .exclusive && !book.hasVolatileBits(first.old) {
                changed = cp_change_words(words, found & ~taken, change.ofWords(like: first.old, in: book.volatilityBits))
            } else if byPairs {
                changed = cp_change_pairs(words, found & ~taken, change.ofWords)
            } else {
                return taken
            }
            row.add(changed.nonzeroBitCount)
            return taken | changed
        }) { slot in
            replace(slot, change, in: book, protection, &row, &first)
        }
        return row.settle(as: first, with: book, owing: &flush)
    }

    /// Makes the change of one entry, if it is meant; the first of a row is judged.  False: it is illegal.
    @inline(__always)
    private func replace(
        _ slot: SPTESlot, _ change: RowChange, in book: some RowBook, _ protection: borrowing some KeepsTables & ~Copyable,
        _ row: inout UnsettledRow, _ first: inout SPTEChange?
    ) -> Bool {
        var seen = slot.load(protection)
        while change.means(seen) {
            let new = change.new(for: seen)
            if first == nil {
                let wish = SPTEChange(addressSpace: 0, gfn: GFN(0), level: .page4K, old: seen, new: new)
                guard slot.isLegal(wish, in: book) else { return false }
                first = wish
            }
            if book.mode == .exclusive && !book.hasVolatileBits(seen) {
                slot.store(new)
            } else if let other = slot.replace(seen, with: new) {
                seen = other
                continue
            }
            row.add()
            break
        }
        return true
    }

    /// Freezes all entries, present or not, as SPTESlot.freeze() does each; the flush is owed for the table.
    /// alone: nobody else makes a page come or go in them.
    @inline(never)
    package func freezeAll(in book: some RowBook, alone: Bool) {
        var leaves = 0, word = UnsafeMutablePointer<UInt64>(bitPattern: first).unsafelyUnwrapped
        let end = word + count
        while word != end {
            let slot = SPTESlot(word)
            if (alone ? slot.takeAlone() : slot.takeFromOthers()).isPresent { leaves &+= 1 }
            word += 1
        }
        book.tellRow(count, gone: leaves)
    }
}

/// A table that no other thread can reach: what has been taken and not been linked yet.  It is
/// linked, or given back; it cannot be forgotten.
@frozen
package struct UnlinkedTable: ~Copyable {
    package let table: Table

    /// All entries hold nothing, or, where a first one is given, each maps what comes after what the one
    /// before it maps.  In plain stores, of as many entries at once as the CPU can.
    @inline(__always)
    package init(_ page: Table, owner: UInt, role: Role, gfn: GFN, parent: SPTESlot?, first: SPTE? = nil) {
        table = page
        if let first {
            Self.fill(page.entryPointer, first.raw, step: first.sibling(1, at: role.level).raw &- first.raw)
        } else {
            page.entryPointer.update(repeating: SPTE.nonPresent.raw, count: entriesPerTable)
        }
        page.becomeTable(owner: owner, role: role, gfn: gfn, parent: parent)
    }

    @inline(never)
    private static func fill(_ entries: UnsafeMutablePointer<UInt64>, _ first: UInt64, step: UInt64) {
        for index in 0..<entriesPerTable { entries[index] = first &+ UInt64(truncatingIfNeeded: index) &* step }
    }

    /// It can be reached from here on: by an SPTE that points to it, or as a root.
    @inline(__always)
    package consuming func linked() -> Table {
        let table = table
        discard self
        return table
    }

    /// A caller of the library has it from here on, and writes it as it likes.
    package consuming func handOut() -> Table {
        let table = table
        discard self
        table.handOut()
        return table
    }

    /// One that was handed out comes back; nil: another thread took it just now.
    package init?(handedOut table: Table) {
        guard table.claim() else { return nil }
        self.table = table
    }

    /// Its page, to be given back.
    @inline(__always)
    package consuming func retired() -> Table {
        let table = table
        discard self
        table.retire()
        return table
    }

    deinit { mustBeSettled() }
}
