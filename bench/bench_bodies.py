#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""make bench-bodies: the library's operations beside those of Linux 6.12 that run on its tables by tdpmmu/kernel.h.

bench_bodies.py [--repetitions N] [--rows REGEX] [--pages LOG2]

One program, and two libraries behind it: build/, and build/bodies/ (linux/bodies.py).  Each change is told to a
callback, so that our operations go by the entry, too; aging is called under Lock W, as Linux's wants it.
"""
import argparse
import os
import re
import statistics
import subprocess
import sys

import bench_mmu

TOP = bench_mmu.TOP
ROWS = "wrprot_slot|clear_dirty|f.age|test_age|zap_leafs|zap_all$|zap_inv|get_walk|split|collapse|wrprot_masked"
SIDES = {"ours": os.path.join(TOP, "build"), "Linux's": os.path.join(TOP, "build", "bodies")}


def figures(program, folder, options):
    """{row: its median}"""
    done = subprocess.run([program, "-n", str(options.pages), "-r", "2", "-e", "-t", options.rows], text=True,
                          env=dict(os.environ, LD_LIBRARY_PATH=folder), stdout=subprocess.PIPE)
    if done.returncode:
        sys.exit("bench-bodies: %s ended with status %d" % (os.path.basename(program), done.returncode))
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    return {fields[0]: float(fields[5]) for fields in lines if len(fields) > 6 and re.search(options.rows, fields[0])}


def main():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--rows", default=ROWS)
    parser.add_argument("--pages", type=int, default=17)
    options = parser.parse_args()
    if options.repetitions < 1:
        sys.exit("bench-bodies: --repetitions: at least 1")
    program = bench_mmu.build_ours()
    found = {side: [] for side in SIDES}
    for turn in range(options.repetitions):
        for side in list(SIDES) if turn % 2 == 0 else reversed(list(SIDES)):
            found[side].append(figures(program, SIDES[side], options))
    print("%-24s %10s %10s %7s" % ("row (ns)", *SIDES, "ratio"))
    for row in found["ours"][0]:
        ours, theirs = (statistics.median(run[row] for run in found[side]) for side in SIDES)
        print("%-24s %10.2f %10.2f %7s" % (row, ours, theirs, "%.2f" % (theirs / ours) if ours > 0.1 else "-"))


main()
