#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The public names, from the headers: the one list that the version script and
the built library are held against.

symbols.py names               print every function and variable the headers declare
symbols.py map                 print the version script
symbols.py check MAP LIBRARY   compare headers, version script and `nm -D`; and is
                               every function in the test of bad input?
"""
import glob
import os
import re
import subprocess
import sys

NODE = "TDPMMU_1"
VARIABLES = {"tdpmmu_rcu_self", "tdpmmu_rcu_gp"}
TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
INCLUDE = os.path.join(TOP, "include")


def own_text():
    """Our own lines of the preprocessed headers, system headers left out."""
    cc = os.environ.get("CC", "cc").split()
    out = subprocess.run(cc + ["-E", "-DTDPMMU_NO_INLINE", "-I", INCLUDE, "-x", "c",
                               os.path.join(INCLUDE, "tdpmmu.h")],
                         check=True, capture_output=True, text=True).stdout
    kept, ours = [], False
    for line in out.splitlines():
        marker = re.match(r'# \d+ "([^"]*)"', line)
        if marker:
            ours = os.path.abspath(marker.group(1)).startswith(INCLUDE + os.sep)
        elif ours:
            kept.append(line)
    return "\n".join(kept)


def without_groups(text, opening, closing):
    """text without anything between the outermost opening and closing."""
    out, depth = [], 0
    for char in text:
        depth += char == opening
        if depth == 0:
            out.append(char)
        depth -= char == closing
    return "".join(out)


def declared():
    text = re.sub(r"__attribute__\s*\(\((?:[^()]|\([^()]*\))*\)\)", "", own_text())
    names = set()
    text = without_groups(text.replace("}", "};"), "{", "}")  # no ; behind a function's body
    for statement in text.split(";"):
        statement = " ".join(statement.split())
        if not statement or statement.startswith(("typedef", "static ")):
            continue
        function = re.match(r"[\w\s*]+?\b(\w+)\s*\(", statement)
        variable = re.match(r"extern [\w\s*]+?\b(\w+)$", statement)
        if function:
            names.add(function.group(1))
        elif variable:
            names.add(variable.group(1))
    if len(names) < 10:
        sys.exit("symbols.py: found almost nothing in the headers")
    return names


def version_script(names):
    lines = ["/* SPDX-License-Identifier: GPL-2.0-only */",
             "/* Written by `make symbols` from the headers; `make check-symbols` compares. */",
             NODE + " {", "global:"]
    lines += ["    %s;" % name for name in sorted(names)]
    lines += ["local:", "    *;", "};", ""]
    return "\n".join(lines)


def exported(library):
    out = subprocess.run(["nm", "-D", "--defined-only", "--with-symbol-versions", library],
                         check=True, capture_output=True, text=True).stdout
    names, strangers = set(), []
    for line in out.splitlines():
        kind, name = line.split()[-2:]
        plain, _, version = name.partition("@@")
        if kind == "A" and plain == NODE:
            continue  # the version node itself, which some linkers list
        if version != NODE:
            strangers.append("%s has no version %s" % (name, NODE))
        names.add(plain)
    return names, strangers


def check(map_path, library):
    wanted = declared()
    with open(map_path) as file:
        mapped = file.read()
    found, problems = exported(library)
    problems += ["%s: declared, not exported" % n for n in sorted(wanted - found)]
    problems += ["%s: exported, not declared" % n for n in sorted(found - wanted)]
    if mapped != version_script(wanted):
        problems.append("%s does not match the headers: run `make symbols`" % map_path)
    tested = set()
    for path in glob.glob(os.path.join(TOP, "tests-c", "test_*badinput.c")):
        with open(path) as file:
            tested |= set(re.findall(r"\b(\w+)\(", file.read()))
    problems += ["%s: not in tests-c/test_*badinput.c" % n
                 for n in sorted(wanted - tested - VARIABLES)]
    for problem in problems:
        print("symbols: " + problem, file=sys.stderr)
    print("symbols: %d passed, %d failed" % (len(wanted & found), len(problems)))
    return 1 if problems else 0


def main():
    if sys.argv[1:] == ["names"]:
        print("\n".join(sorted(declared())))
    elif sys.argv[1:] == ["map"]:
        print(version_script(declared()), end="")
    elif len(sys.argv) == 4 and sys.argv[1] == "check":
        sys.exit(check(sys.argv[2], sys.argv[3]))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
