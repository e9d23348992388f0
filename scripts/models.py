#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Run the models of RCU, models/*.pml, by spin: make check-models.

models.py [--short] [MODEL [VARIANT...]]

A model's first comment says how it is run, one line each, with what to define:
     * good: FLAGS             spin must find nothing, and see all states
     * long: FLAGS             the same, left out by --short
     * broken: FLAGS  what is wrong, after two blanks: spin must find it
A broken variant that passes is an error: a model that cannot fail proves nothing.  So is a
search that was not complete, or a line of the model that no good run has come to.
"""
import argparse
import concurrent.futures
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MODELS = os.path.join(TOP, "models")
LIMIT_SECONDS = 600
ROW = re.compile(r"^ \* (good|long|broken):[ \t]*(\S+(?: \S+)*)?(?:  +(.*))?$", re.M)


class Run:
    def __init__(self, model, kind, flags, what):
        self.model, self.kind, self.flags, self.what = model, kind, flags.split(), what

    def __str__(self):
        return " ".join([self.model] + self.flags)


def runs_of(path):
    with open(path) as file:
        text = file.read()
    rows = ROW.findall(text[:text.find("*/", text.find("/*", 10))])
    model = os.path.splitext(os.path.basename(path))[0]
    runs = [Run(model, kind, flags, what) for kind, flags, what in rows]
    kinds = {run.kind for run in runs}
    if not {"good", "broken"} <= kinds:
        sys.exit("models.py: %s says not how it is run" % path)
    return runs


def all_runs():
    return [run for path in sorted(glob.glob(os.path.join(MODELS, "*.pml"))) for run in runs_of(path)]


def search(run, directory):
    """spin's answer, or what went wrong: (text, None) or (None, error)."""
    for path in glob.glob(os.path.join(MODELS, "*.[ph]*")):
        shutil.copy(path, directory)
    steps = (["spin", *["-D" + flag for flag in run.flags], "-a", run.model + ".pml"],
             [*os.environ.get("CC", "cc").split(), "-O1", "-w", "-DSAFETY", "-DCOLLAPSE", "-o", "pan", "pan.c"],
             ["./pan", "-m1000000", "-w22"])
    for step in steps:
        try:
            done = subprocess.run(step, cwd=directory, stdin=subprocess.DEVNULL, capture_output=True,
                                  text=True, timeout=LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            return None, "%s takes too long" % step[0]
        if done.returncode or (step[0] == "spin" and "Error" in done.stdout):
            return None, "%s fails: %s" % (step[0], (done.stdout + done.stderr)[-500:])
    return done.stdout, None


def judge(run):
    """(run, good?, what happened, lines never come to)"""
    with tempfile.TemporaryDirectory(prefix="model-") as directory:
        text, error = search(run, directory)
    if error:
        return run, False, error, set()
    errors = re.search(r"errors: (\d+)", text)
    states = re.search(r"(\d+) states, stored", text)
    if not errors or not states:
        return run, False, "spin counted nothing", set()
    if int(errors.group(1)):
        found = re.search(r"^pan:1: (.*?)( \(at depth \d+\))?$", text, re.M)
        return run, run.kind == "broken", found.group(1) if found else "an error", set()
    # A process that never ends has no way to its end.
    unreached = set(re.findall(r"^\t([\w.]+:\d+), state \d+, \"(?!-end-)", text, re.M))
    if run.kind == "broken":
        return run, False, "passes, though broken: %s" % run.what, set()
    if "max search depth too small" in text or "Search not completed" in text:
        return run, False, "was not searched to the end", set()
    return run, True, "%s states" % states.group(1), unreached


def never_reached(results, chosen):
    """Lines that none of a model's good runs has come to; only where all of them ran."""
    by_model = {}
    for run, good, _, unreached in results:
        if run.kind != "broken" and good:
            lines = by_model.setdefault(run.model, unreached)
            by_model[run.model] = lines & unreached
    return [] if chosen else sorted((model, line) for model, lines in by_model.items()
                                    for line in lines if not line.startswith("store_buffer"))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--short", action="store_true")
    parser.add_argument("model", nargs="?")
    parser.add_argument("flags", nargs="*")
    options = parser.parse_args()
    if not shutil.which("spin"):
        # make check goes on without; who asks for the models alone is told by the status.
        print("models: skipped: there is no spin here (Debian has it in the package of that name)")
        sys.exit(0 if options.short else 1)
    runs = [run for run in all_runs() if not (options.short and run.kind == "long")]
    if options.model:
        runs = [run for run in runs if run.model == options.model
                and (not options.flags or run.flags == options.flags)]
    if not runs:
        sys.exit("models.py: there is no such model or variant")
    results = []
    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        for result in pool.map(judge, runs):
            run, good, what, _ = result
            print("%-6s %-46s %s" % ("ok" if good else "FAILED", run,
                                     "found: " + what if good and run.kind == "broken" else what), flush=True)
            results.append(result)
    unreached = never_reached(results, options.model)
    for model, line in unreached:
        print("FAILED %-46s %s is never come to" % (model, line))
    failed = sum(not good for _, good, _, _ in results) + len(unreached)
    print("models: %d passed, %d failed" % (sum(good for _, good, _, _ in results), failed))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
