# SPDX-License-Identifier: GPL-2.0-only
"""libtdpmmu in gdb: what the structs of its headers say, and the page tables of a VM.

    tdpmmu-tables [-entries] [KVM [GFN [LAST]]]    the tree of a VM's tables
    tdpmmu-spte VALUE [KVM|ept|npt|ept-noad] [LEVEL]    what an entry says
    $tdpmmu_spte(VALUE)    the same as text, for printf and display

All of it reads memory and calls nothing, so that it works in a core file, too, and wherever a thread stands.
gdb/layout.py makes the script of one library out of this file; docs/GDB.md tells how gdb finds it."""
import struct

import gdb
import gdb.printing

# Where this library has what: written by gdb/layout.py.
LAYOUT = None

PAGE = 4096
ENTRIES = 512
NONPRESENT = 1 << 63
FROZEN = NONPRESENT | 0x5A0
WRITABLE = 1 << 1
HUGE = 1 << 7
PRESENT = 1 << 11
ADDRESS = 0x000FFFFFFFFFF000
AD_TYPE = 3 << 52
SAVED_SHIFT, SAVED = 54, 5
L1TF_SHIFT = 5
INVALID_ROLE = 1 << 11
SIZES = {1: "4K", 2: "2M", 3: "1G", 4: "512G", 5: "256T"}
MEMORY_TYPES = {0: "UC", 1: "WC", 4: "WT", 5: "WP", 6: "WB"}
WARNINGS = {1: "argument", 2: "lock", 3: "SPTE", 4: "leak", 5: "RCU", 6: "check", 7: "flush"}
# More roots, or vCPUs, than a program has: a list that was written over ends there.
MOST_LISTED = 1 << 16

# The masks of VMs by their kind, where there is no VM to be asked; without MMIO, which depends on its MAXPHYADDR and L1TF.
KINDS = {
    "ept": {"execute": 4, "noExecute": 0, "accessed": 1 << 8, "dirty": 1 << 9, "hostWritable": 1 << 57,
            "mmuWritable": 1 << 58, "accessTrack": 7,
            "tableBits": PRESENT | NONPRESENT | 7 | 1 << 8, "mmioMask": 7 | NONPRESENT, "mmioValue": 6, "l1tfMask": 0},
    "npt": {"execute": 0, "noExecute": 1 << 63, "accessed": 1 << 5, "dirty": 1 << 6, "hostWritable": 1 << 9,
            "mmuWritable": 1 << 10, "accessTrack": 0,
            "tableBits": PRESENT | 7 | 1 << 5, "mmioMask": 1 << 51 | 1, "mmioValue": 1 << 51 | 1, "l1tfMask": 0},
}
KINDS["ept-noad"] = dict(KINDS["ept"], accessed=0, dirty=0, tableBits=PRESENT | NONPRESENT | 7 | 1 << 52)


# Memory ----------------------------------------------------------------------

def read(address, size):
    return gdb.selected_inferior().read_memory(address, size).tobytes()


def number(address, size):
    return int.from_bytes(read(address, size), "little")


def field(name, address, member):
    """A field of one of the library's structs."""
    offset, size = LAYOUT["structs"][name][member]
    return number(address + offset, size)


def part(name, address, member):
    """The address of a struct in one of the library's structs."""
    return address + LAYOUT["structs"][name][member][0]


def variable(name):
    """The address of one of the library's variables."""
    places = LAYOUT["variables"]
    try:
        anchor = int(gdb.parse_and_eval("(unsigned long)&tdpmmu_create_vm"))
        witness = int(gdb.parse_and_eval("(unsigned long)&tdpmmu_destroy_vm"))
    except gdb.error:
        raise gdb.GdbError("libtdpmmu is not loaded")
    if witness - anchor != places["witness"] - places["anchor"]:
        raise gdb.GdbError("another build of libtdpmmu is loaded than the one that this script lies beside")
    return anchor - places["anchor"] + places[name]


# Entries ---------------------------------------------------------------------

class Masks:
    """How one VM, or all VMs of a kind, encode entries."""

    def __init__(self, masks):
        self.__dict__.update(masks)

    def kind(self):
        return "npt" if self.noExecute else "ept" if self.accessed else "ept-noad"

    def is_mmio(self, spte):
        return self.mmioValue != 0 and spte & self.mmioMask == self.mmioValue

    def is_tracked(self, spte):
        return bool(self.accessTrack and spte & PRESENT and spte & AD_TYPE and not spte & self.accessTrack)

    def is_accessed(self, spte):
        return bool(spte & self.accessed) if self.accessed else bool(spte & PRESENT) and not self.is_tracked(spte)

    def is_dirty(self, spte):
        return bool(spte & self.dirty) if self.dirty else bool(spte & PRESENT and spte & WRITABLE)

    def is_executable(self, spte):
        return bool(spte & PRESENT) and spte & self.execute == self.execute and not spte & self.noExecute

    def is_table(self, spte):
        """At any level: does it look like the entry of a table, and like no 4K leaf?"""
        return (spte & ~ADDRESS) | self.accessed == self.tableBits

    def mmio_gfn(self, spte):
        kept = spte & ADDRESS & ~self.mmioMask
        if self.l1tfMask:
            low = kept & ((self.l1tfMask & -self.l1tfMask) - 1)
            kept = low | (kept >> L1TF_SHIFT) & self.l1tfMask
        return kept >> 12

    def bits(self, spte):
        """As `tdpmmuctl dump` has them: RWX, A or T, D, H, M, and the memory type of EPT."""
        third = ("A", spte & self.accessed) if self.accessed else ("T", self.is_tracked(spte))
        letters = [("R", spte & PRESENT and spte & 1), ("W", spte & WRITABLE), ("X", self.is_executable(spte)),
                   (" ", True), third, ("D", spte & self.dirty), ("H", spte & self.hostWritable),
                   ("M", spte & self.mmuWritable)]
        text = "".join(letter if is_set else "-" for letter, is_set in letters)
        if self.noExecute:
            return text
        memory_type = spte >> 3 & 7
        return text + " " + MEMORY_TYPES.get(memory_type, "?%d" % memory_type) + ("" if spte & 1 << 6 else "+")


def generation(spte):
    """19 bits of the slots' generation, of an MMIO entry."""
    return spte >> 3 & 0xFF | (spte >> 52 & 0x7FF) << 8


def describe(spte, masks, level=None):
    """One entry in words; without a level, what it is by its bits."""
    if spte == NONPRESENT or spte == 0:
        return "nothing"
    if spte == FROZEN:
        return "frozen: a thread is replacing it, or its table is cut off"
    if not spte & PRESENT:
        if masks.is_mmio(spte):
            return "MMIO, gfn 0x%x, generation 0x%x" % (masks.mmio_gfn(spte), generation(spte))
        return "not present"
    is_table = masks.is_table(spte) if level is None else level > 1
    if is_table and not spte & HUGE:
        return "table at 0x%x" % (spte & ADDRESS)
    size = SIZES.get(level, "") if level else "huge" if spte & HUGE else "4K"
    text = "%s leaf, %s, pfn 0x%x" % (size, masks.bits(spte), (spte & ADDRESS) >> 12)
    if masks.is_tracked(spte):
        saved = spte >> SAVED_SHIFT & SAVED
        text += ", after the next access R%s" % ("X" if saved & 4 else "")
    return text


# Tables and VMs --------------------------------------------------------------

class Header:
    """A table's struct kvm_mmu_page, at its address."""

    def __init__(self, address):
        self.address = address

    def __getattr__(self, name):
        return field("kvm_mmu_page", self.address, name)

    @property
    def level(self):
        return self.role & 15

    @property
    def space(self):
        return self.role >> 24


class Arena:
    """Where all tables of the process lie, and their headers."""

    def __init__(self):
        self.offset = number(variable("arenaOffset"), 8)
        self.start = self.offset + LAYOUT["blockBytes"] if number(variable("arenaReserved"), 8) else 0
        self.size = number(variable("arenaCommitted"), 8) if self.start else 0

    def header_of(self, page):
        """The header of the table that has an address in it; or None."""
        block = LAYOUT["blockBytes"]
        if not 0 <= page - self.start < self.size:
            return None
        index = page % block // PAGE
        header = Header(page - page % block + index * LAYOUT["structs"]["kvm_mmu_page"][""])
        return header if header.spt == page - page % PAGE else None

    def table(self, spte):
        """The header of the table that an entry points to; or None."""
        return self.header_of((spte & ADDRESS) + self.offset)

    def owners(self):
        """The VMs that have tables, in the order of these."""
        owners, stride, block = [], LAYOUT["structs"]["kvm_mmu_page"][""], LAYOUT["blockBytes"]
        place, headers_bytes = LAYOUT["structs"]["kvm_mmu_page"]["kvm"][0], block // PAGE * stride
        for start in range(self.start, self.start + self.size, block):
            headers = read(start, headers_bytes)
            # The headers of the pages that the headers are in are none.
            for at in range(headers_bytes // PAGE * stride, headers_bytes, stride):
                owner = struct.unpack_from("<Q", headers, at + place)[0]
                if owner and owner not in owners:
                    owners.append(owner)
        return owners


class VM:
    """A VM, at the address of its struct kvm."""

    def __init__(self, kvm):
        self.kvm = kvm
        self.memory = kvm - part("VMMemory", 0, "kvm")
        self.state = part("VMMemory", self.memory, "state")
        masks = part("VMState", self.state, "masks")
        names = [name for name in LAYOUT["structs"]["SPTEMasks"] if name]
        self.masks = Masks({name: field("SPTEMasks", masks, name) for name in names})
        config = part("VMState", self.state, "config")
        self.levels = field("VMConfiguration", config, "rootLevel")
        self.physical_bits = field("VMConfiguration", config, "maxPhysicalBits")

    @staticmethod
    def at(kvm):
        """Or None, where there is no VM."""
        try:
            variable("anchor")
            srcu = part("kvm", kvm, "srcu")
            return VM(kvm) if field("srcu_struct", srcu, "tdpmmu_self") == srcu else None
        except (gdb.MemoryError, gdb.GdbError):
            return None

    def roots(self):
        root, seen = field("VMState", self.state, "firstRoot"), []
        while root and root not in seen and len(seen) < MOST_LISTED:
            seen.append(root)
            root = Header(root).next
        return [Header(root) for root in seen]

    def vcpus(self):
        """(id, header of its root or 0), in the order of the list."""
        vcpu = field("VCPUsLock", part("VMMemory", self.memory, "vcpus"), "first")
        seen, found = set(), []
        while vcpu and vcpu not in seen and len(seen) < MOST_LISTED:
            seen.add(vcpu)
            state = part("VCPUMemory", vcpu, "state")
            found.append((field("VCPUState", state, "id"), field("VCPUState", state, "root")))
            vcpu = field("VCPULink", part("VCPUMemory", vcpu, "link"), "next")
        return found

    def text(self):
        nx = ", NX huge pages" if field("VMState", self.state, "nxHugePages") else ""
        return "VM 0x%x: %s, %d levels, MAXPHYADDR %d%s" % (self.kvm, self.masks.kind(), self.levels,
                                                          self.physical_bits, nx)


# The tree --------------------------------------------------------------------

class Entry:
    """What stands at a place of a table; `problem`: why nothing below it is read."""

    def __init__(self, table, level, gfn, spte, problem=None):
        self.table, self.level, self.gfn, self.spte, self.problem = table, level, gfn, spte, problem

    @property
    def pages(self):
        return 1 << (self.level - 1) * 9

    @property
    def pfn(self):
        return (self.spte & ADDRESS) >> 12

    @property
    def is_leaf(self):
        return bool(self.spte & PRESENT) and (self.level == 1 or bool(self.spte & HUGE))

    @property
    def is_table(self):
        return bool(self.spte & PRESENT) and not self.is_leaf


def walk(vm, arena, table, level, gfn, first, last):
    """All entries of a table and below it that say something, and whose gfns reach into first to last."""
    try:
        sptes = struct.unpack("<%dQ" % ENTRIES, read(table.spt, PAGE))
    except gdb.MemoryError:
        yield Entry(table.address, level, gfn, NONPRESENT, "its memory cannot be read")
        return
    pages = 1 << (level - 1) * 9
    for index, spte in enumerate(sptes):
        here = gfn + index * pages
        if spte == NONPRESENT or here > last or here + pages <= first:
            continue
        entry = Entry(table.address, level, here, spte)
        below = arena.table(spte) if entry.is_table else None
        if entry.is_table and not (below and below.kvm == vm.kvm and below.level == level - 1
                                   and below.ptep == table.spt + index * 8):
            entry.problem = "no table of this VM stands there"
        yield entry
        if entry.is_table and not entry.problem:
            yield from walk(vm, arena, below, level - 1, here, first, last)


class Row:
    """Neighbouring leaves, or MMIO entries, that differ in nothing but where they point."""

    def __init__(self, entry):
        self.first = self.last = entry
        self.count, self.is_contiguous, self.is_constant = 1, True, True

    def take(self, entry):
        first, last = self.first, self.last
        if entry.is_table or first.is_table or entry.problem or (entry.level, entry.table) != (first.level, first.table) \
                or entry.gfn != last.gfn + last.pages or (entry.spte ^ first.spte) & ~ADDRESS:
            return False
        self.is_contiguous = self.is_contiguous and entry.pfn == last.pfn + last.pages
        self.is_constant = self.is_constant and entry.pfn == first.pfn
        self.last = entry
        self.count += 1
        return True

    def pfns(self):
        first, last = self.first.pfn, self.last.pfn
        end = last + self.first.pages - 1
        if self.count > 1 and self.is_constant:
            return "pfn %x, each" % first
        if self.is_contiguous:
            return "pfn %x" % first if end == first else "pfn %x-%x" % (first, end)
        return "pfn %x, %s%x" % (first, "..., " if self.count > 2 else "", last)

    def what(self, masks):
        entry, times = self.first, " x %d" % self.count if self.count > 1 else ""
        if entry.problem:
            return "%x: %s" % (entry.spte, entry.problem)
        if entry.is_table:
            return "table"
        if entry.is_leaf:
            return "%-14s  %-8s  %s" % (SIZES[entry.level] + " leaf" + times, masks.bits(entry.spte), self.pfns())
        if entry.spte == FROZEN:
            return "frozen" + times
        if masks.is_mmio(entry.spte):
            return "%-14s  generation %x" % ("MMIO" + times, generation(entry.spte))
        return "nonpresent %x%s" % (entry.spte, times)

    def line(self, vm):
        level = self.first.level
        end = self.last.gfn + self.first.pages - 1
        gfns = "%x" % end if end == self.first.gfn else "%x-%x" % (self.first.gfn, end)
        head = "  " * max(0, vm.levels - level + 1) + "level %d  gfn %s" % (level, gfns)
        return "%-38s  %s" % (head, self.what(vm.masks))


def rows(entries):
    row = None
    for entry in entries:
        if row and row.take(entry):
            continue
        if row:
            yield row
        row = Row(entry)
    if row:
        yield row


def counted(count, one, many):
    return "%d %s" % (count, one if count == 1 else many)


def summary(vm, entries):
    parts = [counted(1 + sum(entry.is_table for entry in entries), "table", "tables")]
    for level in 1, 2, 3:
        leaves = sum(entry.is_leaf and entry.level == level for entry in entries)
        if leaves:
            parts.append(counted(leaves, "leaf", "leaves") + " of " + SIZES[level])
    mmio = sum(not entry.spte & PRESENT and vm.masks.is_mmio(entry.spte) for entry in entries)
    return ", ".join(parts + (["%d MMIO" % mmio] if mmio else []))


def head(root, vcpus):
    words = ["%d levels" % root.level, "role 0x%x" % root.role, "address space %d" % root.space]
    if root.role & INVALID_ROLE:
        words.append("invalid")
    count = root.tdp_mmu_root_count
    words.append(counted(count - (count >> 31 << 32), "reference", "references"))
    users = [str(vcpu) for vcpu, its_root in vcpus if its_root == root.address]
    if users:
        words.append(("vCPU " if len(users) == 1 else "vCPUs ") + ", ".join(users))
    return "root 0x%x  %s" % (root.address, ", ".join(words))


def show_tables(vm, shows_entries, first, last):
    arena, vcpus, roots = Arena(), vm.vcpus(), vm.roots()
    print(vm.text())
    if not roots:
        print("no roots")
    for root in roots:
        print(head(root, vcpus))
        entries = list(walk(vm, arena, root, root.level, 0, first, last))
        if shows_entries:
            for entry in entries:
                print("  level %d gfn 0x%x spte 0x%x  %s" % (entry.level, entry.gfn, entry.spte, entry.problem
                                                        or describe(entry.spte, vm.masks, entry.level)))
        else:
            for row in rows(entries):
                print(row.line(vm))
        print(summary(vm, entries))


# Commands --------------------------------------------------------------------

def evaluate(text):
    try:
        return gdb.parse_and_eval(text)
    except gdb.error as error:
        raise gdb.GdbError("%s: %s" % (text, error))


NUMBERS = gdb.TYPE_CODE_INT, gdb.TYPE_CODE_PTR, gdb.TYPE_CODE_ENUM


def whole_number(text):
    value = evaluate(text)
    if value.type.strip_typedefs().code not in NUMBERS:
        raise gdb.GdbError("%s is no number" % text)
    return int(value) & (1 << 64) - 1


def address_of(text):
    value = evaluate(text)
    if value.type.strip_typedefs().code in (gdb.TYPE_CODE_STRUCT, gdb.TYPE_CODE_UNION):
        value = value.address
        if value is None:
            raise gdb.GdbError("%s is in no memory" % text)
    if value.type.strip_typedefs().code not in (gdb.TYPE_CODE_INT, gdb.TYPE_CODE_PTR):
        raise gdb.GdbError("%s is no address of a VM" % text)
    return int(value) & (1 << 64) - 1


def vm_of(text):
    """The VM that an expression stands for: struct kvm, its address, or that of a vCPU."""
    address = address_of(text)
    vm = VM.at(address)
    if not vm:
        try:
            state = part("VCPUMemory", address, "state")
            vm = VM.at(field("VCPUState", state, "kvm"))
        except gdb.MemoryError:
            vm = None
    if not vm:
        raise gdb.GdbError("%s: there is no VM, nor vCPU, at 0x%x" % (text, address))
    return vm


def require_library():
    if LAYOUT is None:
        raise gdb.GdbError("this is the source; gdb loads what gdb/layout.py made of it, beside the library")
    variable("anchor")


def only_vm():
    vms = [vm for vm in map(VM.at, Arena().owners()) if vm]
    if not vms:
        raise gdb.GdbError("no VM of this program has tables; name one: tdpmmu-tables KVM")
    if len(vms) > 1:
        raise gdb.GdbError("which VM?  tdpmmu-tables KVM\n" + "\n".join(vm.text() for vm in vms))
    return vms[0]


class Command(gdb.Command):
    """One that says what is wrong in a line."""

    def invoke(self, argument, from_tty):
        try:
            self.run(gdb.string_to_argv(argument))
        except gdb.MemoryError as error:
            raise gdb.GdbError("%s: %s" % (self.name, error))


class TablesCommand(Command):
    """The tree of a VM's page tables: tdpmmu-tables [-entries] [KVM [GFN [LAST]]]

KVM is a struct kvm, its address, or that of a vCPU; without it, the one VM that has tables.
GFN and LAST: only what maps the guest's frames from GFN to LAST.
Neighbouring leaves with the same bits share a line: R W X, A accessed (T: tracked, no rights until the next
access), D dirty, H writable for the host, M writable for the MMU; of EPT the memory type, with + where the guest's
PAT has a say.  -entries: a line for each entry, with its value.
Memory is read and nothing is called, so it works in core files, too; a thread that is in the middle of a
change may be seen in it."""
    name = "tdpmmu-tables"

    def run(self, words):
        require_library()
        shows_entries = words[:1] == ["-entries"]
        words = words[1:] if shows_entries else words
        if len(words) > 3 or words and words[0].startswith("-"):
            raise gdb.GdbError("tdpmmu-tables [-entries] [KVM [GFN [LAST]]]")
        vm = vm_of(words[0]) if words else only_vm()
        first = whole_number(words[1]) if len(words) > 1 else 0
        last = whole_number(words[2]) if len(words) > 2 else first if len(words) > 1 else (1 << 64) - 1
        if first > last:
            raise gdb.GdbError("no gfn is from 0x%x to 0x%x" % (first, last))
        show_tables(vm, shows_entries, first, last)


def masks_for(words):
    """[(name, masks)]: those of the VM or kind that is named; of the VMs of the program; or of all kinds."""
    if words:
        if words[0] in KINDS:
            return [(words[0], Masks(KINDS[words[0]]))]
        require_library()
        vm = vm_of(words[0])
        return [(vm.masks.kind(), vm.masks)]
    try:
        require_library()
        vms = [vm for vm in map(VM.at, Arena().owners()) if vm]
    except (gdb.GdbError, gdb.MemoryError):
        vms = []
    found = {vm.masks.kind(): vm.masks for vm in vms}
    return sorted(found.items()) or [(kind, Masks(KINDS[kind])) for kind in sorted(KINDS)]


class SPTECommand(Command):
    """What an entry of the page tables says: tdpmmu-spte VALUE [KVM|ept|npt|ept-noad] [LEVEL]

Read as the VM does, or VMs of that kind; without either, as the VMs of this program do, or all kinds.
At LEVEL (1: 4K, 2: 2M, ...), or by what the bits look like."""
    name = "tdpmmu-spte"

    def run(self, words):
        if not 1 <= len(words) <= 3:
            raise gdb.GdbError("tdpmmu-spte VALUE [KVM|ept|npt|ept-noad] [LEVEL]")
        spte = whole_number(words[0])
        level = whole_number(words[2]) if len(words) > 2 else None
        if level is not None and not 1 <= level <= 5:
            raise gdb.GdbError("LEVEL is 1 to 5")
        kinds = masks_for(words[1:2])
        for name, masks in kinds:
            print(("%s: " % name if len(kinds) > 1 else "") + describe(spte, masks, level))


def lasting(text):
    """A text that lies in gdb: only what a convenience variable holds does printf take without memory of the program."""
    data = text.encode() + b"\0"
    gdb.set_convenience_variable("_tdpmmu_text", gdb.Value(data, gdb.lookup_type("char").array(len(data) - 1)))
    return gdb.convenience_variable("_tdpmmu_text")


class SPTEFunction(gdb.Function):
    """$tdpmmu_spte(VALUE): what an entry says, as a text; read as the VMs of this program do, or as all kinds."""

    def __init__(self):
        super().__init__("tdpmmu_spte")

    def invoke(self, *values):
        if len(values) != 1:
            raise gdb.GdbError("$tdpmmu_spte(VALUE)")
        if values[0].type.strip_typedefs().code not in NUMBERS:
            raise gdb.GdbError("$tdpmmu_spte(VALUE): that is no number")
        spte = int(values[0]) & (1 << 64) - 1
        return lasting("; ".join("%s: %s" % (name, describe(spte, masks)) for name, masks in masks_for([])))


# What structs say ------------------------------------------------------------

def unsigned(value):
    return int(value) & (1 << 64) - 1


def masks_at(sptep):
    """How the VM of the table that has this entry in it encodes its entries; or None."""
    try:
        header = Arena().header_of(unsigned(sptep)) if LAYOUT else None
        vm = VM.at(header.kvm) if header else None
    except (gdb.error, gdb.GdbError, gdb.MemoryError):
        vm = None
    return vm.masks if vm else None


class Printer:
    def __init__(self, value):
        self.value = value


class IteratorPrinter(Printer):
    def to_string(self):
        value = self.value
        level, root_level = int(value["level"]), int(value["root_level"])
        if not value["valid"]:
            return "no walk, or one that is over"
        spte, masks = unsigned(value["old_spte"]), masks_at(value["sptep"])
        text = "level %d of %d down to %d, address space %d, gfn 0x%x, spte 0x%x" % (
            level, root_level, int(value["min_level"]), int(value["as_id"]), unsigned(value["gfn"]), spte)
        if masks:
            text += " (%s)" % describe(spte, masks, level)
        return text + (", mmu_lock was dropped" if value["yielded"] else "")


class SlotPrinter(Printer):
    def to_string(self):
        value = self.value
        base, pages = unsigned(value["base_gfn"]), unsigned(value["npages"])
        flags = int(value["flags"])
        words = ["slot %d" % int(value["id"]), "address space %d" % int(value["as_id"]),
                 "gfns 0x%x to 0x%x" % (base, base + pages - 1) if pages else "no pages at gfn 0x%x" % base,
                 "host 0x%x" % unsigned(value["userspace_addr"])]
        words += [word for bit, word in ((1, "logged"), (2, "read-only")) if flags & bit]
        if flags & ~3:
            words.append("flags 0x%x" % flags)
        return ", ".join(words)


class RangePrinter(Printer):
    def to_string(self):
        value = self.value
        text = "gfns 0x%x to before 0x%x" % (unsigned(value["start"]), unsigned(value["end"]))
        return text + (", may block" if value["may_block"] else "") + ", slot %s" % value["slot"]


class RolePrinter(Printer):
    def to_string(self):
        word = int(self.value["word"])
        words = ["level %d" % (word & 15), "address space %d" % (word >> 24)]
        words += [text for bit, text in ((INVALID_ROLE, "invalid"), (1 << 16, "no A/D bits")) if word & bit]
        return "%s (0x%x)" % (", ".join(words), word)


class TablePrinter(Printer):
    def to_string(self):
        value = self.value
        role = int(value["role"]["word"])
        if not value["tdp_mmu_page"]:
            return "a page that is no table"
        references = int(value["tdp_mmu_root_count"])
        words = ["root" if not value["ptep"] else "table", "level %d" % (role & 15), "gfn 0x%x" % unsigned(value["gfn"]),
                 "address space %d" % (role >> 24)]
        words += [text for is_so, text in ((role & INVALID_ROLE, "invalid"),
                                           (not value["ptep"], counted(references, "reference", "references")),
                                           (value["nx_huge_page_disallowed"], "in place of an NX huge page")) if is_so]
        return ", ".join(words + ["entries at 0x%x" % unsigned(value["spt"]), "VM 0x%x" % unsigned(value["kvm"])])


class HeadPrinter(Printer):
    """A head that is queued has its function under a cookie and its own address (Sources/RCU/QueuedMark.swift)."""

    def function(self, word):
        block = gdb.execute("info symbol 0x%x" % word, to_string=True).strip()
        return block.split(" ")[0] if block and not block.startswith("No symbol") else "0x%x" % word

    def to_string(self):
        word, place = unsigned(self.value["func"]), self.value.address
        if not word:
            return "an empty head"
        if place is not None and LAYOUT:
            try:
                cookie = field("cp_call_words", variable("callData"), "cookie")
            except (gdb.error, gdb.GdbError, gdb.MemoryError):
                cookie = 0
            action = word ^ unsigned(place) ^ cookie
            if cookie and not action >> 61 and not action >> 47 & 1:
                how = "to be freed by" if action >> 48 & 1 else "to be called:"
                return "queued, %s %s" % (how, self.function(action & (1 << 47) - 1))
        return "not queued, function %s" % self.function(word)


class LockPrinter(Printer):
    def to_string(self):
        state, owner = int(self.value["state"]), unsigned(self.value["owner"])
        readers, sleepers = state & (1 << 29) - 1, int(self.value["sleepers"])
        words = []
        if state >> 31 & 1:
            words.append("held for write by the library's thread %d" % owner)
        if readers:
            words.append("held for read %s" % counted(readers, "time", "times"))
        if state >> 29 & 1:
            words.append("readers that are not counted here")
        if sleepers:
            words.append(counted(sleepers, "thread waits", "threads wait"))
        return ", ".join(words or ["free"])


class VMPrinter(Printer):
    def to_string(self):
        lock = "mmu_lock %s" % LockPrinter(self.value["mmu_lock"]).to_string()
        vm = VM.at(unsigned(self.value.address)) if LAYOUT and self.value.address is not None else None
        if not vm:
            return "no VM; " + lock
        return "%s; %s, %s; %s" % (vm.text(), counted(len(vm.roots()), "root", "roots"),
                                   counted(len(vm.vcpus()), "vCPU", "vCPUs"), lock)


class WarningPrinter(Printer):
    def to_string(self):
        value = self.value
        kind = int(value["kind"])
        return "%s: %s: %s (0x%x, 0x%x)" % (
            WARNINGS.get(kind, "kind %d" % kind), value["function"].string(), value["text"].string(),
            unsigned(value["value"][0]), unsigned(value["value"][1]))


def printers():
    collection = gdb.printing.RegexpCollectionPrettyPrinter("tdpmmu")
    for tag, printer in (
            ("tdp_iter", IteratorPrinter), ("kvm_memory_slot", SlotPrinter), ("kvm_gfn_range", RangePrinter),
            ("kvm_mmu_page_role", RolePrinter), ("kvm_mmu_page", TablePrinter), ("rcu_head", HeadPrinter),
            ("tdpmmu_rwlock", LockPrinter), ("kvm", VMPrinter), ("tdpmmu_warning", WarningPrinter)):
        collection.add_printer(tag, "^%s$" % tag, printer)
    return collection


TablesCommand(TablesCommand.name, gdb.COMMAND_DATA, gdb.COMPLETE_EXPRESSION)
SPTECommand(SPTECommand.name, gdb.COMMAND_DATA, gdb.COMPLETE_EXPRESSION)
SPTEFunction()
# Where gdb loads it with a library they are that library's, else everybody's.  replace: it may be loaded again.
gdb.printing.register_pretty_printer(gdb.current_objfile(), printers(), replace=True)
