#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Where the built library can end the program: each trap that Swift left in it (ud2), by
the source file of the check.  A file must have its reason in REASONS why no caller can
make the check fail; the border itself (ABI, Rig) and PageTable have none, and no trap.

traps.py LIBRARY SYMBOLIZER [list]"""
import collections
import re
import subprocess
import sys

REASONS = {
    "MMU/DirtyBitmap.swift": "pages of a slot, fewer than 2^31, and gfns that were found in it",
    "MMU/DirtyLog.swift": "ranges inside a slot, looked at before; masks that are not 0",
    "MMU/DirtyRing.swift": "indices masked by the ring's size; masks that are not 0",
    "MMU/DirtyRingReset.swift": "masks that are not 0",
    "MMU/HostNotifier.swift": "hva below UINT64_MAX, looked at by the border",
    "MMU/HostRanges.swift": "host addresses of slots, which end at 2^56 at most; counts of slots",
    "MMU/Inspection.swift": "an order's number, below 4",
    "MMU/LeafUpdate.swift": "gfns of a slot, below 2^41",
    "MMU/MemslotUpdate.swift": "gfns of a slot, below 2^41; counts of slots and generations",
    "MMU/NXHugePages.swift": "counts of tables; a ratio that is not 0",
    "MMU/NXRecovery.swift": "times of a clock that does not go back",
    "MMU/PageFault.swift": "gfns found in a slot; 36 to 52 address bits",
    "MMU/RemovedTables.swift": "counts of tables",
    "MMU/Roots.swift": "counts of roots",
    "MMU/Tracing.swift": "ids below 64; texts up to 65535 bytes; addresses inside the arena",
    "MMU/VCPU.swift": "sums of counters",
    "MMU/SlotTable.swift": "gfns of a slot, below 2^41; counts of slots; an order's number, below 4",
    "MMU/SlotTableChange.swift": "counts of slots, and of chunks, of which no list has 2^16; slots that the table has",
    "MMU/Telling.swift": "static strings are pointers",
    "MMU/VM.swift": "36 to 52 address bits; counts of slots",
    "MMU/VMState.swift": "36 to 52 address bits",
    "RCU/CallbackQueue.swift": "counts of callbacks in memory",
    "RCU/Fork.swift": "the system's numbers of threads are positive",
    "RCU/Synchronize.swift": "threads that hurry, counted in pairs",
    "RCU/Patience.swift": "rounds of one wait",
    "RCU/Registry.swift": "the system's numbers of threads are positive",
    "RCU/SRCUDomain+Lists.swift": "numbers of lists, 0 to 2",
    "RCU/SRCUHolds.swift": "domains that one thread is inside of, each in memory",
    "RCU/Worker.swift": "errors of pthread_create are positive",
    "Sync/ForkGate.swift": "a second from now",
    "Sync/LockHolds.swift": "locks that one thread holds, each in memory",
    "Sync/Warning.swift": "static strings are pointers",
    "Tracing/TraceBatch.swift": "places in a batch of 512 events; room that a caller has in memory",
    "Tracing/TraceFile.swift": "events in memory, and what write() took of them",
    "Tracing/TraceRing.swift": "ring sizes up to 2^24; events read are never ahead of events written",
    "Tracing/TraceRings.swift": "events in memory",
}


def traps(library, symbolizer):
    """(file, line, kind) of each trap."""
    text = subprocess.run(["objdump", "-d", "--no-show-raw-insn", library], check=True, capture_output=True,
                          text=True).stdout
    addresses = ["0x" + a for a in re.findall(r"^ *([0-9a-f]+):\tud2", text, re.M)]
    out = subprocess.run([symbolizer, "--obj=" + library + ".debug", "--no-demangle"], input="\n".join(addresses) + "\n",
                         check=True, capture_output=True, text=True).stdout
    for block in out.strip().split("\n\n"):
        lines = block.split("\n")
        kind = lines[0].replace("Swift runtime failure: ", "")
        place = next((re.match(r"\./Sources/(.*?):(\d+)", line) for line in lines if line.startswith("./Sources/")), None)
        if place:
            yield place[1], int(place[2]), kind
        elif "_swift_exceptionPersonality" in lines:
            pass  # for what throws from C++; nothing here is compiled to call it
        else:
            yield in_symbol(block), 0, kind


def in_symbol(block):
    """The file, from a mangled name, of code that has no line: the module and its type's."""
    name = re.search(r"^\$e(\d+)(\w+)", block, re.M)
    if not name:
        return "unknown"
    module, rest = name[2][:int(name[1])], re.match(r"(\d+)(\w+)", name[2][int(name[1]):])
    return "%s/%s.swift" % (module, rest[2][:int(rest[1])] if rest else "unknown")


def main():
    found = collections.Counter(traps(sys.argv[1], sys.argv[2]))
    if sys.argv[3:] == ["list"]:
        for (file, line, kind), count in sorted(found.items()):
            print("%3d  %s:%d: %s" % (count, file, line, kind))
    bad = [trap for trap in sorted(found) if trap[0] not in REASONS]
    for file, line, kind in bad:
        print("traps: %s:%d: %s, and no reason why it cannot be reached" % (file, line, kind), file=sys.stderr)
    print("traps: %d passed, %d failed" % (len(found) - len(bad), len(bad)))
    sys.exit(1 if bad else 0)


main()
