// SPDX-License-Identifier: GPL-2.0-only
import PageTable

/// What the checker finds.  Each has its line of `texts`, in the same order.
enum CheckFault: UInt8 {
    case rootList, root, twinRoots, rootReferences, vcpuRoot, lastTable, lastSlot
    case child, parent, childRole, childGFN, tableBits
    // In the order of LeafFlaw.
    case leafSize, leafWritable, leafTracking, leafReserved, leafExecution
    case leafPage, beyond, frozen, nonPresent, mmio, mmioInSlot
    case noSlot, slotWidth, hostWidth, readOnly, taken, unmarked
    case slots, leafCount, tableCount, nxList, nxCount, freeList, lostPage

    init(_ flaw: LeafFlaw) { self = CheckFault(rawValue: CheckFault.leafSize.rawValue &+ flaw.rawValue).unsafelyUnwrapped }

    var text: UnsafePointer<CChar> {
        var line = UnsafeRawPointer(texts.utf8Start).assumingMemoryBound(to: CChar.self), left = rawValue
        while left != 0 {
            if line.pointee == 0 { left &-= 1 }
            line += 1
        }
        return line
    }
}

/// One string for all: a line's number takes a byte where it is used.
private let texts: StaticString = """
    the list of roots has no end (roots, tables)\0\
    a listed root is none\0\
    two valid roots have one role\0\
    a root has fewer references than users (references, users)\0\
    a vCPU's root is not listed, or of another address space (root, vCPU)\0\
    a vCPU remembers a table that is not there (table, gfn)\0\
    a vCPU remembers a slot that is not there\0\
    a table entry points to no table of this VM (SPTE, gfn)\0\
    a table does not name the entry that points to it (SPTE, gfn)\0\
    a table's role does not fit its place (SPTE, gfn)\0\
    a table's gfn does not fit its place (SPTE, gfn)\0\
    a table entry has bits too many or too few (SPTE, gfn)\0\
    a leaf's size does not fit its level (SPTE, gfn)\0\
    a leaf's writable bits contradict each other (SPTE, gfn)\0\
    an access-tracked leaf has lost what it permits (SPTE, gfn)\0\
    a leaf has bits too many or too few (SPTE, gfn)\0\
    a leaf permits execution and must not, or the other way round (SPTE, gfn)\0\
    a leaf's page is above MAXPHYADDR, or not aligned (SPTE, gfn)\0\
    an entry covers gfns that the VM does not have (SPTE, gfn)\0\
    a frozen entry is nobody's (SPTE, gfn)\0\
    an entry is none of the kinds (SPTE, gfn)\0\
    an MMIO entry has another gfn, or a generation of the future (SPTE, gfn)\0\
    an MMIO entry of now stands in a slot (SPTE, gfn)\0\
    a leaf is in no slot (SPTE, gfn)\0\
    a huge leaf reaches out of its slot, or is not aligned in it (SPTE, gfn)\0\
    a leaf is wider than the host's mapping (SPTE, gfn)\0\
    a leaf of a read-only slot is writable, or may become so (SPTE, gfn)\0\
    the host has taken back what a leaf maps (SPTE, gfn)\0\
    a page of a logged slot may be written, and the log has it not (SPTE, gfn)\0\
    the slots are out of order, or counted wrong\0\
    leaves of a level are counted wrong (count, found)\0\
    tables are counted wrong (count, found)\0\
    the list of NX splits is broken, or a table's mark is (table, gfn)\0\
    NX splits are counted wrong (count, found)\0\
    an arena's list of free pages is broken\0\
    pages of the arena are lost (pages)\0
    """
