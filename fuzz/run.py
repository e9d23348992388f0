#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""make fuzz-clang: each target of build/fuzz for some seconds by libFuzzer.  run.py FOLDER SECONDS [TARGET...]
With "asked" for FOLDER it only looks at what it is asked for, before anything is built.

What is worth keeping stays in FOLDER/corpus/TARGET, what ended a target in FOLDER/found/; the last line counts."""
import os
import re
import subprocess
import sys

TARGETS = {"api": 6000, "trace": 30000, "recording": 16000, "list": 3000}  # the longest inputs
PATIENCE = 20  # seconds for one input
MEGABYTES = 1500
LEAST_EDGES = 5000  # that a program has with the library; one without has some tens


def run(folder, target, seconds):
    """(well, what to say of it)."""
    corpus, found = os.path.join(folder, "corpus", target), os.path.join(folder, "found")
    seeds, words = os.path.join(folder, "seeds", target), os.path.join(folder, "seeds", target + ".dict")
    os.makedirs(corpus, exist_ok=True)
    os.makedirs(found, exist_ok=True)
    program = os.path.join(folder, "fuzz_" + target)
    command = [program, "-max_len=%d" % TARGETS[target], "-timeout=%d" % PATIENCE, "-rss_limit_mb=%d" % MEGABYTES,
               "-max_total_time=%d" % seconds, "-print_final_stats=1", "-artifact_prefix=%s/%s-" % (found, target)]
    command += ["-dict=" + words] if os.path.exists(words) else []
    try:
        done = subprocess.run(command + [corpus, seeds], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              errors="replace", timeout=seconds + 300)
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, str(error)
    runs = re.search(r"stat::number_of_executed_units: (\d+)", done.stdout)
    coverage = re.findall(r"^#\d+\s+\w+\s+cov: (\d+)", done.stdout, re.M)
    if done.returncode == 0 and runs and coverage:
        return int(runs.group(1)) > 0 and int(coverage[-1]) > 0, "%s inputs, %s edges of the code" % (
            runs.group(1), coverage[-1])
    artifact = re.search(r"Test unit written to (\S+)", done.stdout)
    tail = [line for line in done.stdout.splitlines() if not re.match(r"^(#|NEW|MS:|INFO)", line)][-40:]
    return False, "\n".join(tail) + ("\n    to see it: %s %s" % (program, artifact.group(1)) if artifact else "")


def refuse(text):
    print("fuzz: " + text, file=sys.stderr)
    return 2


def main():
    seconds = sys.argv[2] if len(sys.argv) > 2 else ""
    if not re.fullmatch(r"[1-9][0-9]{0,6}", seconds):
        return refuse("SECONDS_FUZZ is a count of seconds from 1 to 9999999, and not '%s'" % seconds)
    targets = sys.argv[3:] or list(TARGETS)
    unknown = [target for target in targets if target not in TARGETS]
    if unknown:
        return refuse("there is no target %s; there are %s" % (" ".join(unknown), " ".join(TARGETS)))
    if sys.argv[1] == "asked":
        return 0
    failed = 0
    for target in targets:
        good, text = run(sys.argv[1], target, int(seconds))
        print("fuzz: %-10s %s%s" % (target, "" if good else "FAILED\n", text), flush=True)
        failed += not good
    print("fuzz-clang: %d passed, %d failed" % (len(targets) - failed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
