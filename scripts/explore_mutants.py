#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Put the bugs of tests-rig/mutants.txt in, one by one: the scenario that each names has to fail.

explore_mutants.py [NAME]...   all, or those whose name begins so; in the copy of the tree that mutants.py has
explore_mutants.py --fit       only see whether each can be put in, and its scenario is there
"""
import os
import subprocess
import sys

import explore
import mutants

LIST = os.path.join(mutants.TOP, "tests-rig", "mutants.txt")
RIG = os.path.join(mutants.COPY, "build", "rig")


def build_rig():
    return subprocess.run(["make", "--no-print-directory", "-C", mutants.COPY, "rig"], stdin=subprocess.DEVNULL,
                          capture_output=True).returncode == 0


def outcome(mutant):
    """The exit status of its scenario with the rig library of the copy, or None: it does not end."""
    source = os.path.join(mutants.TOP, "tests-rig", mutant.program + ".c")
    program = explore.build(source, RIG, mutant.program)
    try:
        return subprocess.run([program, "--scenario", mutant.test], stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=mutants.LIMIT_SECONDS).returncode
    except subprocess.TimeoutExpired:
        return None


def judge(mutant):
    texts = mutant.mutated()
    for file, (_, text) in texts.items():
        mutants.write_if_new(os.path.join(mutants.COPY, file), text.encode())
    built = build_rig()
    status = outcome(mutant) if built else None
    for file, (before, _) in texts.items():
        mutants.write_if_new(os.path.join(mutants.COPY, file), before.encode())
    return status == 1, "found" if status == 1 else "not found (%s)" % status if built else "does not build"


def fits(mutant):
    mutant.mutated()
    with open(os.path.join(mutants.TOP, "tests-rig", mutant.program + ".c")) as source:
        if '"%s"' % mutant.test not in source.read():
            raise ValueError("%s has no scenario %s" % (mutant.program, mutant.test))


def main():
    chosen = [m for m in mutants.read_mutants(LIST) if sys.argv[1:] in ([], ["--fit"]) or
              any(m.name.startswith(name) for name in sys.argv[1:])]
    for mutant in chosen:
        fits(mutant)
    good = len(chosen)
    if sys.argv[1:] != ["--fit"]:
        mutants.COPIED.append("tests-rig")
        mutants.copy_tree()
        good = 0
        for mutant in chosen:
            found, text = judge(mutant)
            good += found
            print("%-34s %s" % (mutant.name, text), flush=True)
    print("explore mutants: %d passed, %d failed" % (good, len(chosen) - good))
    sys.exit(0 if chosen and good == len(chosen) else 1)


main()
