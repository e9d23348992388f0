#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""What fuzzing engines want of a target: pack.py FOLDER OUT copies from FOLDER each program, and its dictionary, seeds as
a zip file and options under the names that belong to it.  One that does not count its edges is refused."""
import os
import re
import shutil
import subprocess
import sys
import zipfile

from run import LEAST_EDGES, PATIENCE, TARGETS


def counted(program):
    """How many edges libFuzzer sees of a program."""
    done = subprocess.run([program, "-runs=0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    found = re.search(r"\((\d+) inline 8-bit counters\)", done.stdout)
    return int(found.group(1)) if found and done.returncode == 0 else 0


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    folder, out = sys.argv[1:]
    for target, longest in TARGETS.items():
        name = "fuzz_" + target
        seeds, words = os.path.join(folder, "seeds", target), os.path.join(folder, "seeds", target + ".dict")
        edges = counted(os.path.join(folder, name))
        if edges < LEAST_EDGES:
            sys.exit("pack.py: %s counts %d edges, and not %d at least" % (name, edges, LEAST_EDGES))
        shutil.copy2(os.path.join(folder, name), out)
        with zipfile.ZipFile(os.path.join(out, name + "_seed_corpus.zip"), "w", zipfile.ZIP_DEFLATED) as archive:
            for seed in sorted(os.listdir(seeds)):
                archive.write(os.path.join(seeds, seed), seed)
        options = ["[libfuzzer]", "max_len = %d" % longest, "timeout = %d" % PATIENCE]
        if os.path.exists(words):
            shutil.copy(words, os.path.join(out, name + ".dict"))
            options.append("dict = %s.dict" % name)
        with open(os.path.join(out, name + ".options"), "w", encoding="utf-8") as file:
            file.write("\n".join(options) + "\n")
        print("%s: %d seeds, %d edges" % (name, len(os.listdir(seeds)), edges))


main()
