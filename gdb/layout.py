#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Write the script that gdb loads with a library: gdb/tdpmmu.py, with where this very library has what.

gdb's own lookup knows no Swift, and what is installed has no debug information; so offsets of fields and
places of variables are read here, from the debug information of the library that was just built.

    layout.py LIBRARY    reads LIBRARY.debug, writes LIBRARY-gdb.py

A library that is a link has both beside the file that it leads to, where gdb looks."""
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
# Of each struct the fields that the script asks for, and their bytes; 0: a struct, which begins at a word.
STRUCTS = {
    "VMMemory": {"kvm": 0, "state": 0, "vcpus": 0},
    "VMState": {"masks": 0, "config": 0, "firstRoot": 8, "nxHugePages": 1},
    "VMConfiguration": {"rootLevel": 4, "maxPhysicalBits": 8},
    "SPTEMasks": dict.fromkeys(["tableBits", "execute", "noExecute", "accessed", "dirty", "hostWritable", "mmuWritable",
                                "accessTrack", "mmioMask", "mmioValue", "l1tfMask"], 8),
    "VCPUMemory": {"state": 0, "link": 0},
    "VCPUState": {"kvm": 8, "id": 4, "addressSpace": 4, "root": 8},
    "VCPULink": {"next": 8},
    "VCPUsLock": {"first": 8},
    "kvm": {"srcu": 0},
    "srcu_struct": {"tdpmmu_self": 8},
    "kvm_mmu_page": {"next": 8, "spt": 8, "gfn": 8, "kvm": 8, "ptep": 8, "role": 4, "tdp_mmu_root_count": 4,
                     "tdp_mmu_page": 1, "nx_huge_page_disallowed": 1},
    "cp_call_words": {"cookie": 8},
}
VARIABLES = {
    "arenaOffset": "$e9PageTable0B5ArenaO6offsetSuvpZ",
    "arenaReserved": "$e9PageTable0B5ArenaO8reserved15Synchronization6AtomicVySuGvpZ",
    "arenaCommitted": "$e9PageTable0B5ArenaO9committed15Synchronization6AtomicVySuGvpZ",
    "callData": "cp_call_data",
    # Where the library lies is told by a function that it exports, and by a second one whether it is this library.
    "anchor": "tdpmmu_create_vm",
    "witness": "tdpmmu_destroy_vm",
}
DIE = re.compile(r"^ <(\d+)><[0-9a-f]+>: Abbrev Number: \d+(?: \((\w+)\))?")
ATTRIBUTE = re.compile(r"^    <[0-9a-f]+>\s+(DW_AT_\w+)\s*: (.*)$")


def fail(text):
    sys.exit("gdb/layout.py: " + text)


def entries(debug):
    """(depth, tag, attributes) of the debug information, one after another."""
    command = ["readelf", "--debug-dump=info", "--wide", debug]
    reader = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, errors="replace")
    try:
        entry = None
        for line in reader.stdout:
            found = DIE.match(line)
            if found:
                if entry:
                    yield entry
                entry = (int(found.group(1)), found.group(2), {}) if found.group(2) else None
            elif entry:
                found = ATTRIBUTE.match(line)
                if found:
                    entry[2][found.group(1)] = found.group(2).rsplit("): ", 1)[-1].rsplit(") ", 1)[-1].strip()
        if entry:
            yield entry
    finally:
        reader.kill()  # most of it is not read
        reader.wait()


def aligned(offset, width):
    """Swift's debug information has the end of the field before as a field's place, without what aligns it."""
    alignment = width or 8
    return (offset + alignment - 1) // alignment * alignment


def fields(debug):
    """{struct: {"": size, field: (offset, bytes)}} of STRUCTS."""
    found, struct, depth = {}, None, 0
    for level, tag, attributes in entries(debug):
        if struct and level <= depth:
            found[struct[0]] = struct[1]
            struct = None
            if len(found) == len(STRUCTS):
                break
        name = attributes.get("DW_AT_name")
        if struct and level == depth + 1 and tag == "DW_TAG_member" and name in STRUCTS[struct[0]]:
            width = STRUCTS[struct[0]][name]
            struct[1][name] = (aligned(int(attributes["DW_AT_data_member_location"], 0), width), width)
        elif not struct and tag == "DW_TAG_structure_type" and name in STRUCTS and name not in found \
                and "DW_AT_declaration" not in attributes and "DW_AT_byte_size" in attributes:
            struct, depth = (name, {"": int(attributes["DW_AT_byte_size"], 0)}), level
    for name, wanted in STRUCTS.items():
        missing = [field for field in wanted if field not in found.get(name, {})]
        if name not in found or missing:
            fail("%s: the debug information has no %s %s" % (debug, name, " ".join(missing)))
    return found


def variables(debug):
    places = {}
    for line in subprocess.run(["nm", debug], stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines():
        words = line.split()
        if len(words) == 3:
            places[words[2].split("@")[0]] = int(words[0], 16)
    missing = [symbol for symbol in VARIABLES.values() if symbol not in places]
    if missing:
        fail("%s has no %s" % (debug, " ".join(missing)))
    return {name: places[symbol] for name, symbol in VARIABLES.items()}


def block_bytes():
    """Headers are found from a table's address by this: the one number that no debug information has."""
    path = os.path.join(HERE, "..", "Sources", "PageTable", "TableArena.swift")
    with open(path, encoding="utf-8") as file:
        found = re.search(r"static let blockBytes: UInt = (\d+) &<< (\d+)", file.read())
    if not found:
        fail("TableArena.swift does not say how large a block is")
    return int(found.group(1)) << int(found.group(2))


# gdb runs a script among its own names, so what is defined is a module of its own.
FRAME = """# SPDX-License-Identifier: GPL-2.0-only
# libtdpmmu in gdb, for the library beside it: written by gdb/layout.py, from gdb/tdpmmu.py.
import types

tdpmmu_gdb = types.ModuleType("tdpmmu_gdb")
exec(compile(r'''%s''', "tdpmmu_gdb", "exec"), tdpmmu_gdb.__dict__)
"""


def script_text(debug):
    with open(os.path.join(HERE, "tdpmmu.py"), encoding="utf-8") as file:
        text = file.read()
    line = "\nLAYOUT = None\n"
    if text.count(line) != 1 or "'''" in text:
        fail("tdpmmu.py has no line LAYOUT = None, or has three quotes that end it")
    structs = "".join("        %r: %r,\n" % item for item in sorted(fields(debug).items()))
    return FRAME % text.replace(line, "\nLAYOUT = {\n    'structs': {\n%s    },\n    'variables': %r,\n    'blockBytes': %r,\n}\n" % (
        structs, variables(debug), block_bytes()))


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    named, library = sys.argv[1], os.path.realpath(sys.argv[1])
    debug = library + ".debug"
    if not os.path.exists(debug):
        debug = named + ".debug"
    if not os.path.exists(debug):
        fail("%s.debug is not there" % library)
    script = library + "-gdb.py"
    with open(script + ".new", "w", encoding="utf-8") as file:
        file.write(script_text(debug))
    os.replace(script + ".new", script)
    if named + "-gdb.py" != script and os.path.realpath(named + "-gdb.py") != script:
        os.symlink(os.path.relpath(script, os.path.dirname(os.path.abspath(named))), named + "-gdb.py")


main()
