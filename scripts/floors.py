#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Do the files of each module use those of their own floor and below only?

docs/DESIGN.md draws the floors in tables "| module | floor | files | about |", 1 being the
lowest; `*` stands for the files of the module that no other row names.  What goes up
nevertheless stands in a table "| module | from | to | reason |", and only as long as it is
so.  One check for each module, and one for each of its files.

A file uses another if it names what that one alone defines: a type, a function, a property or
a case.  Names that several files, or a C header, define tell nothing, nor does one that the
file has itself.
Usage: floors.py [-v]   (-v: what each file uses)
"""
import glob
import os
import re
import sys

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MODIFIERS = (r"(?:(?:@\w+(?:\([^)]*\))?|package|public|internal|static|final|mutating|nonmutating|lazy|indirect"
             r"|private|fileprivate|consuming|borrowing|override|convenience|unowned|weak|nonisolated|unsafe"
             r"|private\(set\)|package\(set\))(?:\([^)]*\))?\s+)*")
DEFINITION = re.compile(r"^\s*" + MODIFIERS + r"(struct|enum|class|protocol|typealias|func|var|let|case)\s+`?(\w+)")
CASES = re.compile(r"(?:^\s*(?:indirect\s+)?case|,)\s+(\w+)(?=\s*(?:\(|,|=|$))")
TYPE = re.compile(r"^\s*" + MODIFIERS + r"(?:struct|enum|class|protocol|extension)\s")
PRIVATE = re.compile(r"^\s*(?:@\w+\s+)*(?:private|fileprivate)(?!\(set\))\b")
# What Swift's own types have as well: named behind a dot, it tells nothing.
COMMON = set("""append baseAddress bytes capacity contains count current description elements enumerated error file
    filter first firstIndex flatMap free hasPrefix hasSuffix index insert isEmpty isMultiple item items joined kind last
    lastIndex level line lines list load lock locked lower lowerBound magic make mask max memory min move name names next
    none number offset pointee pointer position prefix range rawValue read reduce remove removeAll removeFirst removeLast
    removeValue result root seen slot slots sort sorted split start state stop store stride suffix take task text trace
    unlock update upperBound utf8 value values version wait wake word words write zero""".split())


def code_lines(text):
    """The code without comments and without what stands in strings."""
    text = re.sub(r'"""(.*?)"""', lambda m: " ".join(re.findall(r"\\\((.*)\)", m.group(1))) + "\n" * m.group(1).count("\n"),
                  text, flags=re.S)
    for line in text.split("\n"):
        line = re.sub(r'"((?:\\.|[^"\\])*)"', lambda m: '"" ' + " ".join(re.findall(r"\\\(([^\"]*?)\)", m.group(1))), line)
        yield line.split("//")[0]


class File:
    def __init__(self, path):
        self.name = os.path.basename(path)[:-len(".swift")]
        self.defines = set()   # what others may name
        self.own = set()       # its types' and its own, private or not
        self.locals = set()    # what it has in functions
        self.plain = set()     # words
        self.members = set()   # words behind a dot
        scopes = []
        with open(path, encoding="utf-8") as source:
            for line in code_lines(source.read()):
                self.take(line, scopes)

    def take(self, line, scopes):
        found = DEFINITION.match(line)
        is_open = all(kind == "type" for kind in scopes)
        if found:
            names = CASES.findall(line) if found.group(1) == "case" else [found.group(2)]
            if is_open:
                self.own.update(names)
                if not PRIVATE.match(line):
                    self.defines.update(name for name in names if len(name) >= 4)
        self.locals.update(re.findall(r"\b(?:let|var|func|for|inout)\s+(\w+)", line))
        self.locals.update(re.findall(r"(?:^|[(,])\s*(?:\w+\s+)?(\w+):", line))
        self.locals.update(name for group in re.findall(r"(?:\b(?:let|var)\s*|\{\s*)\(?((?:\w+,\s*)+\w+)\)?\s*(?:=|\bin\b)", line)
                           for name in re.findall(r"\w+", group))
        self.locals.update(re.findall(r"\{\s*(?:\[[^\]]*\]\s*)?(\w+) in\b", line))
        for before, word, after in re.findall(r"((?:(?<!\.)\.)?)\b([A-Za-z_]\w{3,})(:?)", line):
            if before == ".":
                self.members.add(word)
            elif not after:
                self.plain.add(word)
        change = line.count("{") - line.count("}")
        kind = "type" if TYPE.match(line) and not PRIVATE.match(line) else "other"
        scopes.extend([kind] * change)
        if change < 0:
            del scopes[change:]

    def names(self):
        """What it may have from elsewhere."""
        return ((self.plain - self.locals) | (self.members - COMMON)) - self.own


def tables(text):
    """(floors, exceptions): {module: [(floor, [file])]}, {(module, from, to)}."""
    floors, exceptions = {}, set()
    section = text.split("\n## Floors", 1)[-1].split("\n## ")[0]
    head = None
    for line in section.split("\n"):
        if not line.startswith("|"):
            head = None
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if head is None:
            head = cells
        elif set(line) <= set("|-: "):
            continue
        elif head[:3] == ["module", "floor", "files"]:
            floors.setdefault(cells[0].strip("`"), []).append((int(cells[1]), re.findall(r"`([^`]+)`", cells[2])))
        elif head[:3] == ["module", "from", "to"]:
            exceptions.add(tuple(cell.strip("`") for cell in cells[:3]))
    return floors, exceptions


def place(module, files, rows, complaints):
    """{file: floor}."""
    floor_of = {}
    rest = None
    for floor, names in rows:
        for name in names:
            if name == "*":
                rest = floor
            elif name not in files:
                complaints.append("%s: docs/DESIGN.md has %s, which is not there" % (module, name))
            elif name in floor_of:
                complaints.append("%s: %s stands on two floors" % (module, name))
            else:
                floor_of[name] = floor
    for name in files:
        if name in floor_of:
            continue
        if rest is None:
            complaints.append("%s: %s stands on no floor of docs/DESIGN.md" % (module, name))
        else:
            floor_of[name] = rest
    return floor_of


def owners(modules):
    """{name: the one (module, file) that defines it}."""
    found = {}
    for module, files in modules.items():
        for file in files.values():
            for name in file.defines:
                found.setdefault(name, set()).add((module, file.name))
    for name in fields():
        found.pop(name, None)
    return {name: next(iter(places)) for name, places in found.items() if len(places) == 1}


def fields():
    """Of C structs."""
    for path in glob.glob(os.path.join(TOP, "include", "**", "*.h"), recursive=True):
        with open(path, encoding="utf-8") as header:
            yield from re.findall(r"\b(\w+)(?:\[\w*\])*;", header.read())


def uses(module, files, owner_of):
    """{file: {other: names}}, within the module."""
    result = {}
    for file in files.values():
        mine = result.setdefault(file.name, {})
        for name in file.names():
            owner = owner_of.get(name)
            if owner and owner[0] == module and owner[1] != file.name:
                mine.setdefault(owner[1], set()).add(name)
    return result


def check(module, files, owner_of, rows, exceptions, verbose):
    """(complaints about the table, {file: complaints about it})."""
    table, found = [], {name: [] for name in files}
    if not rows:
        return ["%s: docs/DESIGN.md has no floors of it" % module], found
    floor_of = place(module, files, rows, table)
    used = set()
    for name, others in sorted(uses(module, files, owner_of).items()):
        for other, names in sorted(others.items()):
            if verbose:
                print("%s: %s (%s) uses %s (%s): %s" % (module, name, floor_of.get(name), other, floor_of.get(other),
                                                       ", ".join(sorted(names))))
            if name not in floor_of or other not in floor_of or floor_of[other] <= floor_of[name]:
                continue
            used.add((module, name, other))
            if (module, name, other) not in exceptions:
                found[name].append("%s: %s (floor %d) names %s of %s (floor %d)" % (
                    module, name, floor_of[name], ", ".join(sorted(names)), other, floor_of[other]))
    for _, name, other in sorted(e for e in exceptions if e[0] == module and e not in used):
        table.append("%s: docs/DESIGN.md allows %s to name what is above it in %s, which it does not" % (module, name, other))
    return table, found


def main():
    with open(os.path.join(TOP, "docs", "DESIGN.md"), encoding="utf-8") as design:
        floors, exceptions = tables(design.read())
    modules = {}
    for path in sorted(glob.glob(os.path.join(TOP, "Sources", "**", "*.swift"), recursive=True)):
        module = os.path.relpath(path, os.path.join(TOP, "Sources")).split(os.sep)[0]
        file = File(path)
        modules.setdefault(module, {})[file.name] = file
    owner_of = owners(modules)
    passed = failed = 0
    for module, files in modules.items():
        table, found = check(module, files, owner_of, floors.get(module), exceptions, "-v" in sys.argv)
        for complaints in [table] + list(found.values()):
            for complaint in complaints:
                print("floors: %s" % complaint)
            passed += not complaints
            failed += bool(complaints)
    for module in sorted(set(floors) - set(modules)):
        print("floors: docs/DESIGN.md has floors of %s, which is no module" % module)
        failed += 1
    print("floors: %d passed, %d failed" % (passed, failed))
    sys.exit(1 if failed or not passed else 0)


main()
