#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Seeds and dictionaries of the fuzz targets, from what is here already: traces/, tests-lists/, and the words that the
sources know.  seeds.py OUT SEED_PROGRAM writes OUT/TARGET/* and OUT/TARGET.dict.

A trace is cut small: its beginning, where the VM is made, and what stands around the first line of each kind."""
import glob
import gzip
import os
import re
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BEGINNING, BEFORE, BEHIND = 70, 4, 24
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


def pieces(lines):
    """Line ranges of a trace: the beginning, and the surroundings of each new kind of line."""
    yield BEGINNING
    seen = set()
    for number, line in enumerate(lines):
        found = KIND.match(line)
        kind = found and found.groups()
        if kind and kind not in seen:
            seen.add(kind)
            if number >= BEGINNING:
                yield number


def cut(lines, number):
    if number == BEGINNING:
        return lines[:2 * BEGINNING]
    return lines[:BEGINNING] + lines[max(BEGINNING, number - BEFORE):number + BEHIND]


def trace_seeds(folder):
    kinds = set()
    for path in sorted(glob.glob(os.path.join(TOP, "traces", "*.txt.gz"))):
        if path.endswith(".npt.txt.gz"):
            continue
        name = os.path.basename(path)[:-len(".txt.gz")]
        with gzip.open(path, "rt", encoding="utf-8") as file:
            lines = [line for line in file if not line.startswith("#")]
        machine = name.split("-")[0]
        for number in pieces(lines):
            found = KIND.match(lines[number]) if number < len(lines) else None
            kind = (machine, found and found.groups())
            if number != BEGINNING and kind in kinds:
                continue
            kinds.add(kind)
            text = "".join(cut(lines, number))
            put(os.path.join(folder, "%s-%d" % (name, number)), text.encode()[:MOST_BYTES].rsplit(b"\n", 1)[0] + b"\n")
        whole_seed(folder, name, lines)


def whole_seed(folder, name, lines):
    """With a dump, and the end of the VM: from a trace that is small enough."""
    dumps = os.path.join(TOP, "traces", name + ".npt.txt.gz")
    with gzip.open(dumps, "rt", encoding="utf-8") as file:
        dump = file.read()
    begin = next((number for number, line in enumerate(lines) if "STEP dump " in line), None)
    if begin is None or len(dump) > MOST_BYTES // 2:
        return
    text = "".join(lines[:BEGINNING] + lines[max(BEGINNING, begin - BEFORE):begin + BEFORE] + lines[-BEHIND:])
    put(os.path.join(folder, name + "-dump"), (text + dump).encode())


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
