#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The floors that docs/DESIGN.md draws: in a module that has a table there, each file uses
only files that stand before it, in rows from the ground up and within a row from left to right.

Text only: a name of five letters or more that one file of the module alone defines, outside
functions and not private, counts as that file's wherever another has it."""
import collections
import glob
import os
import re
import sys

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
WORDS = r"(?:package|public|internal|static|final|mutating|nonmutating|consuming|borrowing)\s+"
DEFINES = re.compile(r"^\s*(?:@[\w()]+\s+)*(?:%s)*(?:struct|enum|class|protocol|typealias|func|var|let|case)"
                     r"\s+`?([A-Za-z_]\w{4,})" % WORDS)
PRIVATE = re.compile(r"^\s*(?:@[\w()]+\s+)*(?:fileprivate|private)\b")
OPENS = re.compile(r"\b(func|init|deinit|get|set|var)\b.*\{")


def floors():
    """{module: its files, from the ground up}"""
    with open(os.path.join(TOP, "docs", "DESIGN.md")) as file:
        section = file.read().split("\n## Floors\n")[1].split("\n## ")[0]
    result, module = collections.OrderedDict(), None
    for line in section.splitlines():
        head = re.match(r"\| `(\w+)`, from the ground up \|", line)
        if head:
            module = head.group(1)
            result[module] = []
        elif module and line.startswith("| ") and line.count("|") == 3:
            result[module] += re.findall(r"`([\w+]+)`", line.split("|")[2])
    return result


def definitions(code):
    names, depth, inside = set(), 0, None
    for line in code.split("\n"):
        found = DEFINES.match(line)
        if found and inside is None and not PRIVATE.match(line):
            names.add(found.group(1))
        if inside is None and OPENS.search(line) and line.count("{") > line.count("}"):
            inside = depth
        depth += line.count("{") - line.count("}")
        if inside is not None and depth <= inside:
            inside = None
    return names


def check(module, order):
    """What is wrong, as lines."""
    code = {}
    for path in glob.glob(os.path.join(TOP, "Sources", module, "*.swift")):
        with open(path) as file:
            code[os.path.basename(path)[:-6]] = re.sub(r"//.*", "", file.read())
    wrong = ["%s: %s is on no floor" % (module, name) for name in sorted(set(code) - set(order))]
    wrong += ["%s: there is no %s.swift" % (module, name) for name in order if name not in code]
    owners = collections.defaultdict(set)
    for name, text in code.items():
        for word in definitions(text):
            owners[word].add(name)
    place = {name: i for i, name in enumerate(order)}
    for name in order:
        for word in sorted(set(re.findall(r"[A-Za-z_]\w{4,}", code.get(name, "")))):
            used = owners.get(word, ())
            if len(used) == 1 and place.get(min(used), -1) > place[name]:
                wrong.append("%s: %s uses %s of %s, which stands above it" % (module, name, word, min(used)))
    return wrong


def main():
    passed = failed = 0
    for module, order in floors().items():
        wrong = check(module, order)
        for line in wrong:
            print("check-floors: FAILED: " + line)
        failed += len(wrong)
        passed += not wrong
    print("floors: %d passed, %d failed" % (passed, failed))
    sys.exit(1 if failed or not passed else 0)


main()
