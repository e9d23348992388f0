#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The table of docs/SPTES.md, from the code: which entry may become which, and by whom
(Sources/PageTable/SPTETransitions.swift).

sptes.py          writes the table into the page
sptes.py --check  fails if the page has another"""
import os
import re
import sys

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CODE = os.path.join(TOP, "Sources", "PageTable", "SPTETransitions.swift")
PAGE = os.path.join(TOP, "docs", "SPTES.md")
BEGIN, END = "<!-- transitions -->\n", "<!-- end -->\n"
NAMES = {"none": "nothing", "mmio": "MMIO"}
WHO = [(8, "W"), (4, "R"), (2, "L"), (1, "C")]


def kinds(code):
    body = code.split("enum SPTEKind")[1].split("init?")[0]
    return [name for line in re.findall(r"^    case (.*)$", body, re.M) for name in line.split(", ")]


def rows(code, count):
    text = re.search(r'let rows: StaticString = """\n(.*?)"""', code, re.S)[1]
    found = [line.strip().rstrip("\\") for line in text.strip().split("\n")]
    if len(found) != count or any(len(row) != count for row in found):
        sys.exit("sptes.py: the table is not %d by %d" % (count, count))
    return found


def cell(letter):
    if letter == ".":
        return "refused"
    return "".join(name for bit, name in WHO if int(letter, 16) & bit) or "-"


def shown(kind):
    return NAMES.get(kind, re.sub(r"(\d)", r" \1", kind, count=1))


def table(code):
    names = kinds(code)
    lines = ["| from \\ to | " + " | ".join(shown(n) for n in names) + " |", "|---" * (len(names) + 1) + "|"]
    for name, row in zip(names, rows(code, len(names))):
        lines.append("| " + shown(name) + " | " + " | ".join(cell(letter) for letter in row) + " |")
    return "\n".join(lines) + "\n"


def main():
    with open(CODE, encoding="utf-8") as file:
        wanted = table(file.read())
    with open(PAGE, encoding="utf-8") as file:
        page = file.read()
    before, rest = page.split(BEGIN)
    new = before + BEGIN + wanted + END + rest.split(END)[1]
    if sys.argv[1:] == ["--check"]:
        good = new == page
        if not good:
            print("sptes: the table of docs/SPTES.md is not the code's: run scripts/sptes.py")
        print("sptes: %d passed, %d failed" % (good, not good))
        sys.exit(0 if good else 1)
    with open(PAGE, "w", encoding="utf-8") as file:
        file.write(new)


main()
