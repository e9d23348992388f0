#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""make bench-mmu: the library beside Linux's own TDP MMU, in one run.

bench_mmu.py [--repetitions N] [--rows REGEX] [--pages LOG2] [--scale "LOG2 ..."] | --check

In each repetition every side has its turn, the order turned round each time.  A row's figure is the
median over repetitions of what a process gave: the median of its quiet samples (see quiet.h), or
where there was no quiet moment of all, marked ~.  A process is told of the best probe of those before it,
and what one without such a good moment took for quiet does not count as such.  goals.tsv says what is to be reached, held.tsv what
must not be lost: then the exit status is 1.  --check: small, once, whether all rows come; Linux's side
only where its source is already.
"""
import argparse
import glob
import os
import re
import statistics
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BENCH = os.path.join(TOP, "bench")
OUT = os.path.join(TOP, "build", "bench")
OURS, O2, LTO = "tdpmmu", "linux -O2", "linux -flto"
USUAL_PAGES = 18
# Functions begin on a cache line, or a row's figure depends on what stands before them.
WAYS = {O2: ["-O2", "-falign-functions=32"], LTO: ["-O2", "-falign-functions=32", "-flto"]}
LINK = ["-L" + os.path.join(TOP, "build"), "-Wl,-rpath,$ORIGIN/..", "-ltdpmmu", "-lpthread"]


# ---- building ------------------------------------------------------------------------

def sources(linux):
    found = sorted(glob.glob(os.path.join(BENCH, "mmu_*.c")))
    if linux:
        found = [path for path in found if not path.endswith("mmu_side_tdpmmu.c")]
    return found + [os.path.join(BENCH, name) for name in ("bench_mmu.c", "quiet.c")]


def compiler():
    return os.environ.get("CC", "cc").split()


def build_ours():
    program = os.path.join(OUT, "bench_mmu_tdpmmu")
    os.makedirs(OUT, exist_ok=True)
    command = compiler() + ["-std=gnu11", "-g", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE",
                            "-I" + os.path.join(TOP, "include"), *WAYS[O2], *sources(False), "-o", program, *LINK]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode:
        sys.exit("bench-mmu: our side does not compile:\n" + done.stderr)
    return program


def build_linux():
    """{side: program}; empty, after a line that says why, where there is no source or it does not build."""
    import linux_side
    programs = {O2: os.path.join(OUT, "bench_mmu_linux_O2"), LTO: os.path.join(OUT, "bench_mmu_linux_flto")}
    stamp = os.path.join(OUT, "linux.stamp")
    try:
        tree, version = linux_side.tree()
        built = "%s, Linux %d.%d.%d\n" % ((tree,) + version)
        if not is_new(stamp, built, [BENCH, *map(os.path.join, [TOP] * 2, ("linux", "include")), linux_side.files(tree)]):
            linux = linux_side.Linux(tree, version, os.path.join(OUT, "linux"))
            for side, program in programs.items():
                linux.link(compiler(), program, WAYS[side], sources(True), LINK)
            with open(stamp, "w") as file:
                file.write(built)
        print("bench-mmu: beside Linux %d.%d.%d" % version, flush=True)
        return programs
    except SystemExit as stopped:
        why = ", for the reason above" if isinstance(stopped.code, int) else ": %s" % stopped
        print("bench-mmu: Linux's side is left out" + why, flush=True)
        return {}


def is_new(stamp, text, places):
    """Does the stamp say this text, and is no file of the places younger?"""
    try:
        with open(stamp) as file:
            said = file.read()
    except OSError:
        return False
    paths = [path for place in places for path in
             (place if isinstance(place, list) else glob.glob(os.path.join(place, "**"), recursive=True))]
    return said == text and all(os.path.getmtime(path) < os.path.getmtime(stamp) for path in paths
                                if "__pycache__" not in path and not os.path.isdir(path))


# ---- running --------------------------------------------------------------------------

class Figure:
    """A row of one side."""

    def __init__(self, results):
        self.results = results
        self.rounds = []  # (median of the quiet samples or None, of all, least, the process's best probe)

    def quiet(self):
        return [quiet for quiet, _, _, probe in self.rounds
                if quiet is not None and probe <= self.results.best_probe * 1.12]

    def value(self):
        return statistics.median(self.quiet() or [every for _, every, _, _ in self.rounds])

    def least(self):
        return min(least for _, _, least, _ in self.rounds)

    def text(self):
        return ("" if self.quiet() else "~") + number(self.value())


class Results:
    def __init__(self):
        self.figures = {}  # row: {side: Figure}
        self.about = {}    # row: (unit, text)
        self.best_probe = float("inf")

    def take(self, side, output, sized):
        *lines, last = output.splitlines()
        probe = float(last.split("\t")[1])
        self.best_probe = min(self.best_probe, probe)
        for line in lines:
            name, log2, unit, quiet, count, every, _, least, text = line.split("\t")
            row = "%s@%s" % (name, log2) if sized else name
            self.about[row] = (unit, text)
            figure = self.figures.setdefault(row, {}).setdefault(side, Figure(self))
            figure.rounds.append((float(quiet) if int(count) else None, float(every), float(least), probe))

    def value(self, row, side):
        figure = self.figures.get(row, {}).get(side)
        return figure.value() if figure else None


def perform(program, arguments, best_probe=float("inf"), may_fail=False):
    """What it printed; None after a line, if it may fail and did."""
    known = ["-b", str(best_probe)] if best_probe < float("inf") else []
    done = subprocess.run([program, *arguments, *known], stdout=subprocess.PIPE, text=True)
    if done.returncode == 0:
        return done.stdout
    line = "bench-mmu: %s %s ended with status %d" % (os.path.basename(program), " ".join(arguments), done.returncode)
    if not may_fail:
        sys.exit(line)
    print(line, flush=True)
    return None


def run_all(programs, options):
    results = Results()
    results.best_probe = remembered_probe()
    rows = ["-t", options.rows] if options.rows else []
    for turn in range(options.repetitions):
        sides = list(programs)
        for side in sides if turn % 2 == 0 else reversed(sides):
            arguments = ["-n", str(options.pages), "-r", "2", *rows]
            results.take(side, perform(programs[side], arguments, results.best_probe), False)
        progress("repetition %d of %d" % (turn + 1, options.repetitions))
    for log2 in options.scale.split() if scaled_rows_wanted(options.rows) else []:
        for side in programs:
            if side == LTO:
                continue
            output = perform(programs[side], ["-n", log2, "-s", *rows], results.best_probe, may_fail=True)
            if output: # a large guest may be too large for this machine
                results.take(side, output, True)
        progress("guest of 2^%s pages" % log2)
    remembered_probe(results.best_probe)
    return results


def scaled_rows_wanted(pattern):
    return any(re.search(pattern or "", row) for row, scales in known_rows().items() if scales)


def machine():
    """What a best probe is good for: this processor since it was started."""
    with open("/proc/cpuinfo") as file:
        model = next((line.split(":")[1].strip() for line in file if line.startswith("model name")), "")
    with open("/proc/sys/kernel/random/boot_id") as file:
        return model + " " + file.read().strip()


def remembered_probe(found=None):
    """The best probe of earlier runs on this machine; what was found is remembered."""
    path = os.path.join(OUT, "best-probe")
    try:
        with open(path) as file:
            which, probe = file.read().split("\t")
        probe = float(probe) if which == machine() else float("inf")
    except (OSError, ValueError):
        probe = float("inf")
    if found is not None and found < probe:
        with open(path, "w") as file:
            file.write("%s\t%.1f\n" % (machine(), found))
    return probe


def known_rows():
    """{row: is it measured for several sizes?}, in the order of mmu_rows.h."""
    with open(os.path.join(BENCH, "mmu_rows.h")) as file:
        return {row: scenario == "SCALE" for scenario, row in
                re.findall(r'ROW\((\w+), \w+, "([^"]+)"', file.read())}


def progress(text):
    if sys.stderr.isatty():
        print("bench-mmu: " + text, file=sys.stderr, flush=True)


# ---- what came out ------------------------------------------------------------------------

def number(value):
    return "%.0f" % value if value >= 1000 else "%.1f" % value if value >= 100 else "%.2f" % value


def read_table(name, columns):
    with open(os.path.join(BENCH, name)) as file:
        lines = [line.rstrip("\n").split("\t") for line in file if line.strip() and not line.startswith("#")]
    if any(len(line) != columns for line in lines):
        sys.exit("bench-mmu: %s has a line without %d columns" % (name, columns))
    return lines


def reached(results, row, of, goal):
    """(what is compared with the goal, the goal as text, verdict)."""
    ours = results.value(row, OURS)
    base = 1 if of == "absolute" else results.value(row, O2) if of == "linux" else results.value(of, OURS)
    if ours is None or not base:
        return None, "", ""
    shown = float(number(ours / base)) # a goal is as exact as what is printed
    unit = " " + results.about[row][0] if of == "absolute" else "" if of == "linux" else " of ours, " + of
    return ours / base, "<= %s%s" % (goal, unit), "reached" if shown <= float(goal) else "not yet"


def print_table(results, sides):
    goals = {}
    for row, of, goal in read_table("goals.tsv", 3):
        goals.setdefault(row, []).append((of, goal))
    print("%-22s %-5s" % ("row", "") + "".join("%13s" % side for side in sides) +
          ("%8s %8s" % ("/-O2", "/-flto") if len(sides) > 1 else "") + "  goal")
    for row in results.figures:
        found = [reached(results, row, of, goal) for of, goal in goals.get(row, [("linux", "inf")])]
        print_row(results, row, sides, found[0] if row in goals else (None, "", ""))
        for ratio, goal, verdict in found[1:]:
            if goal:
                print("%-28s" % "" + " " * (13 * len(sides)) + ("%8.2f %8s" % (ratio, "") if len(sides) > 1 else "") +
                      "  %s %s" % (goal, verdict))


def print_row(results, row, sides, found):
    figures = results.figures[row]
    line = "%-22s %-5s" % (row, results.about[row][0])
    line += "".join("%13s" % (figures[side].text() if side in figures else "-") for side in sides)
    for side in (O2, LTO) if len(sides) > 1 else ():
        ours, base = results.value(row, OURS), results.value(row, side)
        line += "%8s " % ("%.2f" % (ours / base) if ours is not None and base else "-")
    print(line.rstrip() + ("  %s %s" % found[1:] if found[1] else ""))


ENOUGH = 3  # repetitions with quiet samples, for a row to be judged


def fallen(results):
    """Rows of held.tsv that fell back: by their medians, and by the least samples, which noise only makes
    greater, too; and those of which there are too few quiet samples to say so."""
    lost, unknown = [], []
    for row, allowed in read_table("held.tsv", 2):
        figures = results.figures.get(row, {})
        if OURS not in figures or O2 not in figures:
            continue
        if min(len(figures[side].quiet()) for side in (OURS, O2)) < ENOUGH:
            unknown.append(row)
            continue
        ratio = figures[OURS].value() / figures[O2].value()
        least = figures[OURS].least() / figures[O2].least()
        if min(ratio, least) > float(allowed):
            lost.append("bench-mmu: %s fell back: %.2f of Linux -O2 (least samples %.2f), held at %s" % (
                row, ratio, least, allowed))
    return lost, unknown


def report(results, options, sides):
    print_table(results, sides)
    print("%d repetitions, guest of 2^%d pages; ~: no quiet moment; ns are for one unit of work" %
          (options.repetitions, options.pages))
    if len(sides) == 1:
        return 0
    if options.pages != USUAL_PAGES:
        print("Rows are held for 2^%d pages only: nothing is said of them." % USUAL_PAGES)
        return 0
    lost, unknown = fallen(results)
    if unknown:
        print("Held, but not judged for want of %d repetitions with quiet moments: %s" % (ENOUGH, ", ".join(unknown)))
    for line in lost:
        print(line)
    return 1 if lost else 0


# ---- the check ------------------------------------------------------------------------------

def check():
    """Does it build, does each row come, is what is said of held rows right?"""
    failures = []
    program = build_ours()
    results = Results()
    results.take(OURS, perform(program, ["-n", "15", "-1"]), False)
    results.take(OURS, perform(program, ["-n", "15", "-s"]), True)
    rows = known_rows()
    one = os.cpu_count() == 1
    wanted = {row + "@15" if scales else row for row, scales in rows.items() if not (one and row.startswith("g."))}
    failures += ["no figure for " + row for row in sorted(wanted - set(results.figures))]
    failures += ["%s is %s" % (row, figures[OURS].value()) for row, figures in results.figures.items()
                 if not figures[OURS].value() > 0]
    for name, columns in (("goals.tsv", 3), ("held.tsv", 2)):
        failures += ["%s names %s, which is no row" % (name, line[0]) for line in read_table(name, columns)
                     if line[0].split("@")[0] not in rows]
    failures += check_fallen() + check_linux(wanted)
    print_table(results, [OURS])
    for failure in failures:
        print("check-bench: " + failure)
    passed = len(wanted) + 3 - len(failures)
    print("check-bench: %d passed, %d failed" % (max(passed, 0), len(failures)))
    return 1 if failures else 0


def check_linux(wanted):
    """Where its source is already."""
    if not os.environ.get("LINUX") and not os.path.exists(os.path.join(TOP, "build", "linux-source", "Makefile")):
        print("check-bench: Linux's side is not tried: make linux has not fetched its source")
        return []
    programs = build_linux()
    if not programs:
        return ["Linux's side does not build"]
    results = Results()
    results.take(O2, perform(programs[O2], ["-n", "15", "-1"]), False)
    results.take(O2, perform(programs[O2], ["-n", "15", "-s"]), True)
    return ["no figure of Linux's for " + row for row in sorted(wanted - set(results.figures))
            if row != "h.recover" and not row.startswith("s.rss")]


def check_fallen():
    row, allowed = read_table("held.tsv", 2)[0]
    failures = []
    for median, least, lost in ((1.5, 1.5, True), (1.5, 0.9, False), (0.9, 1.5, False), (0.9, 0.9, False)):
        results = Results()
        line = "\t".join([row, "18", "ns", "%f", "1", "%f", "1", "%f", ""]) + "\nprobe\t1"
        factor = float(allowed)
        for _ in range(ENOUGH):
            results.take(OURS, line % (factor * median, factor * median, factor * least), False)
            results.take(O2, line % (1, 1, 1), False)
        if bool(fallen(results)[0]) != lost:
            failures.append("a row at %.1f of what is allowed, least %.1f: %s" % (
                median, least, "is not noticed" if lost else "counts as lost"))
    return failures


def main():
    parser = argparse.ArgumentParser(prog="bench_mmu.py")
    parser.add_argument("--repetitions", type=int, default=9)
    parser.add_argument("--rows", default="")
    parser.add_argument("--pages", type=int, default=USUAL_PAGES)
    parser.add_argument("--scale", default="")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    if options.check:
        sys.exit(check())
    try:
        if not any(re.search(options.rows, row) for row in known_rows()):
            sys.exit("bench-mmu: ROWS=%s fits no row" % options.rows)
    except re.error:
        sys.exit("bench-mmu: ROWS=%s is no regular expression" % options.rows)
    if options.repetitions < 1 or not all(15 <= int(n) <= 28 for n in [options.pages, *options.scale.split()]):
        sys.exit("bench-mmu: REPETITIONS is at least 1, PAGES and SCALE are 15 to 28")
    programs = {OURS: build_ours(), **build_linux()}
    results = run_all(programs, options)
    sys.exit(report(results, options, list(programs)))


if __name__ == "__main__":
    main()
