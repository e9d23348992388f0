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


def outcome(mutant, number=0):
    """The exit status of its scenario with the rig library of the copy, or None: it does not end.  `number`: of the
    mutant, where several are in the library."""
    source = os.path.join(mutants.TOP, "tests-rig", mutant.program + ".c")
    program = explore.build(source, RIG, mutant.program)
    try:
        return subprocess.run([program, "--scenario", mutant.test], stdin=subprocess.DEVNULL, capture_output=True,
                              env=dict(os.environ, TDPMMU_MUTANT=str(number)), timeout=mutants.LIMIT_SECONDS).returncode
    except subprocess.TimeoutExpired:
        return None


def verdict(status):
    return status == 1, "found" if status == 1 else "not found (%s)" % status


def judge_together(chosen):
    """Yields (mutant, found?, what happened) of those that share a library; none if that does not build."""
    texts, numbered, rest = mutants.side_by_side(chosen)
    before = {}
    for file, text in texts.items():
        if os.path.exists(os.path.join(mutants.TOP, file)):
            with open(os.path.join(mutants.TOP, file), "rb") as source:
                before[file] = source.read()
        mutants.write_if_new(os.path.join(mutants.COPY, file), text.encode())
    if build_rig():
        for number, mutant in numbered.items():
            yield (mutant, *verdict(outcome(mutant, number)))
    for file in texts:
        if file in before:
            mutants.write_if_new(os.path.join(mutants.COPY, file), before[file])
        else:
            os.remove(os.path.join(mutants.COPY, file))


def judge_all(chosen):
    judged = set()
    for mutant, found, text in judge_together([mutant for mutant in chosen if mutant.together]):
        judged.add(mutant.name)
        yield mutant, found, text
    for mutant in chosen:
        if mutant.name not in judged:
            yield (mutant, *judge_alone(mutant))


def judge_alone(mutant):
    texts = mutant.mutated()
    for file, (_, text) in texts.items():
        mutants.write_if_new(os.path.join(mutants.COPY, file), text.encode())
    built = build_rig()
    status = outcome(mutant) if built else None
    for file, (before, _) in texts.items():
        mutants.write_if_new(os.path.join(mutants.COPY, file), before.encode())
    return verdict(status) if built else (False, "does not build")


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
        for mutant, found, text in judge_all(chosen):
            good += found
            print("%-34s %s" % (mutant.name, text), flush=True)
    print("explore mutants: %d passed, %d failed" % (good, len(chosen) - good))
    sys.exit(0 if chosen and good == len(chosen) else 1)


main()
