#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Seeds and dictionaries of the fuzz targets, from what is here already: traces/, tests-lists/, and the words that the
sources know.  seeds.py OUT SEED_PROGRAM writes OUT/TARGET/* and OUT/TARGET.dict.

A trace is cut small, where userspace does something: its beginning, where the VM is made, and a piece further on."""
import glob
import gzip
import os
import re
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LONGEST = 90  # lines of a piece
MOST_BYTES = 30000
KIND = re.compile(r"^.{30,60}?: (\w+): (?:(STEP|DONE|DATA|INFO) (\w+))?")
NUMBERS = 60  # of inputs for the C interface


def sources(*folders):
    for folder in folders:
        for path in sorted(glob.glob(os.path.join(TOP, "Sources", folder, "**", "*.swift"), recursive=True)):
            with open(path, encoding="utf-8") as file:
                yield file.read()


def put(path, content):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)


def dictionary(path, words):
    lines = ['"%s"' % word.replace("\\", "\\\\").replace('"', '\\"') for word in sorted(set(words)) if word]
    put(path, ("# SPDX-License-Identifier: GPL-2.0-only\n" + "\n".join(lines) + "\n").encode())


def literals(text):
    """Pieces of text that the parsers look for."""
    for literal in re.findall(r'"((?:[^"\\]|\\.)*)"', text):
        if re.fullmatch(r"[\x20-\x7e]{2,32}", literal) and "\\" not in literal:
            yield literal


def trace_dictionary(path):
    dictionary(path, [word for text in sources("KernelTrace", os.path.join("Replay", "Schedule")) for word in literals(text)])


def list_dictionary(path):
    words = ["init", "meanwhile", "#=", "0x", "*"]
    for text in sources(os.path.join("OperationLists", "List")):
        for line in re.findall(r"^    case (\w+(?:, \w+)*)$", text, re.M):
            words += line.split(", ")
        words += literals(text)
    dictionary(path, words)


def blocks(lines):
    """A trace in pieces that begin where userspace does something, dumps left out; a long one ends behind a return."""
    block, found = [], []
    for line in lines:
        if " STEP dump " in line or " DONE dump " in line:
            continue
        if ": STEP " in line and block:
            found.append(block)
            block = []
        block.append(line)
    return [shortened(block) for block in found + [block]]


def shortened(block):
    if len(block) <= LONGEST:
        return block
    ends = [number for number in range(LONGEST) if ": pf_ret: " in block[number] or ": DONE " in block[number]]
    return block[:ends[-1] + 1] if ends else block[:1]


def beginning(found):
    """The pieces up to the first in which the guest does something, that one, too."""
    for number, block in enumerate(found):
        if re.search(r": STEP (touch|run|prefault|seq|par)", block[0]):
            return number + 1
    return min(len(found), 8)


def kinds_of(block):
    return {match.groups() for match in map(KIND.match, block) if match}


def trace_seeds(folder):
    """Each kind of line in as few seeds as come to it, for each kind of recorded machine."""
    seen = {}
    for path in sorted(glob.glob(os.path.join(TOP, "traces", "*.txt.gz"))):
        if path.endswith(".npt.txt.gz"):
            continue
        name = os.path.basename(path)[:-len(".txt.gz")]
        with gzip.open(path, "rt", encoding="utf-8") as file:
            lines = [line for line in file if not line.startswith("#")]
        found = blocks(lines)
        first = beginning(found)
        known = seen.setdefault(name.split("-")[0], set())
        for number in range(first - 1, len(found)):
            piece = found[number] if number >= first else []
            text, kinds = "".join(sum(found[:first], []) + piece), kinds_of(piece)
            if len(text) <= MOST_BYTES and (not piece or not kinds <= known):
                known |= kinds
                put(os.path.join(folder, "%s-%d" % (name, number)), text.encode())
        dump_seed(folder, name, sum(found[:first], []), lines, found[-1])


def dump_seed(folder, name, first, lines, last):
    """With a dump, and the end of the VM: from a trace that has a small one."""
    begin = next((number for number, line in enumerate(lines) if "STEP dump " in line), None)
    if begin is None:
        return
    with gzip.open(os.path.join(TOP, "traces", name + ".npt.txt.gz"), "rt", encoding="utf-8") as file:
        dumps = file.read()
    number = re.search(r" id=(\d+) ", lines[begin]).group(1)
    dump = re.search(r"^DUMP id=%s .*?(?=^DUMP |\Z)" % number, dumps, re.M | re.S)
    text = "".join(first + lines[begin:begin + 2] + last) + (dump.group(0) if dump else "")
    if dump and len(text) <= MOST_BYTES:
        put(os.path.join(folder, name + "-dump"), text.encode())


def number_seeds(folder):
    """As fuzz_api makes them: splitmix64."""
    for seed in range(NUMBERS):
        words = []
        for index in range(1, 101):
            z = seed + index * 0x9E3779B97F4A7C15 & (1 << 64) - 1
            z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & (1 << 64) - 1
            z = (z ^ z >> 27) * 0x94D049BB133111EB & (1 << 64) - 1
            words.append((z ^ z >> 31).to_bytes(8, "little"))
        put(os.path.join(folder, "number-%d" % seed), b"".join(words))


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    out, program = sys.argv[1:]
    trace_seeds(os.path.join(out, "trace"))
    trace_dictionary(os.path.join(out, "trace.dict"))
    for path in glob.glob(os.path.join(TOP, "tests-lists", "*.ops")):
        with open(path, "rb") as file:
            put(os.path.join(out, "list", os.path.basename(path)), file.read())
    list_dictionary(os.path.join(out, "list.dict"))
    number_seeds(os.path.join(out, "api"))
    os.makedirs(os.path.join(out, "recording"), exist_ok=True)
    subprocess.run([program, os.path.join(out, "recording")], check=True)
    for target in "api", "trace", "recording", "list":
        seeds = os.listdir(os.path.join(out, target))
        if not seeds:
            sys.exit("seeds.py: no seed for %s" % target)
        print("%-10s %4d seeds" % (target, len(seeds)))


main()
