#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Is everything where docs/DESIGN.md says, in "Where is ...?"?  A row has kernel functions, what does
the same in Swift, and the file.  One check for each row: the file is there and defines what the
row names first in its second column.  One for each exported function of HEADERS that carries
a kernel's name: it has a row."""
import os
import re
import sys

import symbols

TOP = symbols.TOP
HEADERS = ["tdp_mmu", "tdp_iter", "dirty_log", "huge_pages", "notifier", "vm"]
ROW = re.compile(r"^\| (`\w+`.*?) \| (`\w+`.*?) \| `(\w+/[\w+]+)` \|$")
NAME = re.compile(r"`(\w+)`")


def rows():
    """(line number, [kernel functions], Swift name, file) of each row; None for what is no row."""
    with open(os.path.join(TOP, "docs", "DESIGN.md"), encoding="utf-8") as design:
        lines = design.read().split("\n")
    start = lines.index("## Where is ...?")
    for number, line in enumerate(lines[start + 1:], start + 2):
        if line.startswith("## "):
            return
        if not line.startswith("|") or line.startswith(("| of ", "|---")):
            continue
        row = ROW.match(line)
        yield (number, NAME.findall(row[1]), NAME.match(row[2])[1], row[3]) if row else (number, [], None, None)


def defines(file, name):
    """None if it does, else what is wrong."""
    path = os.path.join(TOP, "Sources", file + ".swift")
    if not os.path.exists(path):
        return "Sources/%s.swift is not there" % file
    with open(path, encoding="utf-8") as source:
        code = re.sub(r"//.*", "", source.read())
    pattern = r"\binit\??[(<]" if name == "init" else r"\b(?:func|var|let|struct|enum|protocol)\s+%s\b" % name
    return None if re.search(pattern, code) else "Sources/%s.swift does not define %s" % (file, name)


def exported():
    """Functions of the headers that carry a kernel's name."""
    text = ""
    for header in HEADERS:
        with open(os.path.join(TOP, "include", "tdpmmu", header + ".h"), encoding="utf-8") as file:
            text += re.sub(r"/\*.*?\*/", "", file.read(), flags=re.S)
    return sorted(name for name in symbols.declared() - symbols.VARIABLES
                  if not name.startswith("tdpmmu_") and re.search(r"\b%s\(" % name, text))


def main():
    passed, complaints, named = 0, [], set()
    for number, functions, name, file in rows():
        named.update(functions)
        wrong = defines(file, name) if name else "not \"| `functions` | `name` | `Module/File` |\""
        if wrong:
            complaints.append("docs/DESIGN.md:%d: %s" % (number, wrong))
        else:
            passed += 1
    for function in exported():
        if function in named:
            passed += 1
        else:
            complaints.append("%s has no row in docs/DESIGN.md" % function)
    for complaint in complaints:
        print("where: " + complaint)
    print("where: %d passed, %d failed" % (passed, len(complaints)))
    sys.exit(1 if complaints or not passed else 0)


main()
