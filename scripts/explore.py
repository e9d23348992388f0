#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The scenarios of tests-rig/, by the library of `make rig`.

explore.py short    what takes seconds: at most LIMIT schedules of each; and bad input
explore.py all      as many preemptions as each scenario says
"""
import glob
import os
import re
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
RIG = os.path.join(TOP, "build", "rig")
LIMIT = 800
# Where a search that leaves nothing out takes seconds: the same ends have to be reached.
COMPARED = [("explore_rcu", "lock_two"), ("explore_rcu", "lock_three"), ("explore_rcu", "rcu_synchronize"),
            ("explore_faults", "fault_zap"), ("explore_faults", "fault_notifier")]
BAD = [["--scenario", "nobody"], ["--shard", "0/2"], ["--shard", "3/2"], ["--shard", "1"], ["--preemptions", "17"],
       ["--preemptions"], ["--random", "1,2"], ["--random", "1,0,3"], ["--what"], ["--limit", "-1"],
       ["--schedule", "a1.b"], ["--scenario", "lock_two", "--schedule", "z3"], ["--scenario", "lock_two", "--schedule", "a"],
       ["--scenario", "lock_two", "--schedule", "a900000.b"], ["--scenario", "lock_two", "--schedule", "a3.c"],
       ["--result", "/dev/null"]]


def build(source, library, name):
    program = os.path.join(library, name)
    subprocess.run(os.environ.get("CC", "cc").split() + [
        "-std=c11", "-g", "-O2", "-D_GNU_SOURCE", "-DTDPMMU_NO_INLINE", "-Wall", "-Wextra", "-Werror",
        "-I" + os.path.join(TOP, "include"), source, "-o", program, "-L" + library, "-ltdpmmu",
        "-Wl,-rpath,$ORIGIN"], check=True)
    return program


def run(command, seconds=None):
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=seconds)


def scenarios(program):
    return [line.split()[0] for line in run([program, "--list"]).stdout.splitlines()]


def explore(program, short):
    passed = failed = 0
    for name in scenarios(program):
        bounds = ["--limit", str(LIMIT)] if short else []
        done = run([program, "--scenario", name] + bounds)
        shown = done.stdout if done.returncode else "\n".join(done.stdout.splitlines()[:1]) + "\n"
        print(shown + done.stderr, end="", flush=True)
        ok = done.returncode == 0 and re.search(r"\b[1-9]\d* schedules", done.stdout)
        passed, failed = passed + bool(ok), failed + (not ok)
    return passed, failed


def bad_input(program):
    """Each is refused, with a reason, at once."""
    wrong = [arguments for arguments in BAD if not refused(run([program] + arguments, 60))]
    for arguments in wrong:
        print("not refused: " + " ".join(arguments))
    return len(BAD) - len(wrong), len(wrong)


def shards_are_the_whole(program):
    """Where nothing is left out, three shards have together the schedules of one run."""
    def schedules(*arguments):
        done = run([program, "--scenario", "lock_two", "--whole", *arguments], 60)
        return int(re.search(r"(\d+) schedules", done.stdout)[1])
    whole, parts = schedules(), [schedules("--shard", "%d/3" % shard) for shard in (1, 2, 3)]
    if sum(parts) != whole or 0 in parts:
        print("shards: %s schedules are not %d" % (parts, whole))
        return 0, 1
    return 1, 0


def ends(program, name, preemptions, *arguments):
    """How the schedules of a scenario end, in its own words, and how many there are."""
    done = run([program, "--scenario", name, "--preemptions", str(preemptions), "--ends", *arguments], 120)
    found = re.search(r" (\d+) schedules \(.*\n.* ends: (.*)", done.stdout)
    return (set(found[2].split()), int(found[1])) if found and done.returncode == 0 else (set(), 0)


def nothing_is_lost(program, name):
    """What a search leaves out leads to no end that it does not reach itself."""
    passed = failed = 0
    for preemptions in (1, 2):
        (reduced, fewer), (whole, more) = ends(program, name, preemptions), ends(program, name, preemptions, "--whole")
        good = len(whole) > 1 and reduced == whole and fewer < more
        passed, failed = passed + good, failed + (not good)
        print("%-28s %d preemptions: %d of %d ends by %d of %d schedules: %s" % (
            name, preemptions, len(reduced & whole), len(whole), fewer, more, "ok" if good else "FAILED"), flush=True)
    return passed, failed


def refused(done):
    return done.returncode == 2 and done.stderr.startswith("explore: ")


def main():
    if sys.argv[1:] not in (["short"], ["all"]):
        sys.exit(__doc__)
    counts = []
    for source in sorted(glob.glob(os.path.join(TOP, "tests-rig", "explore_*.c"))):
        program = build(source, RIG, os.path.basename(source)[:-2])
        counts.append(explore(program, sys.argv[1] == "short"))
        counts += [nothing_is_lost(program, name) for of, name in COMPARED if os.path.basename(program) == of]
        if "explore_rcu" in source:
            counts += [bad_input(program), shards_are_the_whole(program)]
    failing = os.path.join(TOP, "tests-rig", "failing.c")
    counts.append(must_fail(build(failing, RIG, "failing")))
    failed = sum(count[1] for count in counts)
    print("explore: %d passed, %d failed" % (sum(count[0] for count in counts), failed))
    sys.exit(1 if failed else 0)


def must_fail(program):
    """Scenarios with mistakes: each fails, as its line in --list says, and its schedule fails again."""
    passed = failed = 0
    for line in run([program, "--list"]).stdout.splitlines():
        name, reason = line.split()[0], line.split("threads", 1)[1].strip()
        done = run([program, "--scenario", name], 60)
        schedule = re.search(r"--schedule (\S+)", done.stdout)
        again = schedule and run([program, "--scenario", name, "--schedule", schedule[1]], 60)
        ok = done.returncode == 1 and reason in done.stdout and again and again.returncode == 1 and reason in again.stdout
        if not ok:
            print("%s: not found, or not again: %s" % (name, done.stdout.splitlines()[:3]))
        passed, failed = passed + bool(ok), failed + (not ok)
    return passed, failed


if __name__ == "__main__":
    main()
