#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""KVM's own selftests of memory under tdpmmu-kvm, built unmodified: a table of programs and modes, compared
with kvm/selftests.txt.

selftests.py [--quick] [--only REGEX]   --quick: three of them in one mode, if the tree is built and the engine there

The tree: KSELFTESTS names one whose selftests of KVM are built; else Debian's linux-source-6.12 is fetched and
they are built in build/kvm-selftests.  MODES: names of modes, blanks between."""
import argparse
import fnmatch
import os
import re
import shutil
import subprocess
import sys
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(TOP, "linux"))
sys.path.insert(0, os.path.join(TOP, "kvm"))
import build as linux  # noqa: E402  (how Debian's source is fetched)
import engine  # noqa: E402

# How often a row that failed by known luck is run once more.
TIMES_AGAIN = 2
BUILT = os.path.join(TOP, "build", "kvm-selftests")
INSIDE = os.path.join("tools", "testing", "selftests", "kvm")
PARTS = ["tools", "Makefile", "scripts", "include", "arch/x86", "Kconfig", "usr"]
MODES = [mmu + nx for nx in ("-nx-off", "-nx-on") for mmu in ("ept-pml", "ept", "ept-noad", "npt")]
SECONDS = 120 # of one program
SKIP = 4      # the selftests' exit status
OUR_MAKE = {"MAKELEVEL", "MAKEFLAGS", "MFLAGS", "GNUMAKEFLAGS", "MAKEOVERRIDES", "OUTPUT", "KBUILD_OUTPUT", "O"}
linux.CALLER = "check-kvm-selftests"


def stop(text):
    sys.exit("check-kvm-selftests: " + text)


# ---- the programs --------------------------------------------------------------------

def unpack():
    """The parts of Debian's source that the selftests need, fetched as `make linux` does."""
    work = BUILT + ".new"
    shutil.rmtree(work, ignore_errors=True)
    os.makedirs(work)
    print("check-kvm-selftests: fetching Debian's %s (about 150 MB) and building KVM's selftests" % linux.PACKAGE,
          flush=True)
    try:
        archive, _ = linux.fetch_archive(work, "KSELFTESTS")
        tree = os.path.join(work, "tree")
        os.makedirs(tree)
        linux.run(["tar", "-C", tree, "--strip-components=1", "-xJf", archive,
                   *[linux.PACKAGE + "/" + part for part in PARTS]], "cannot unpack the kernel", "try again")
        os.rename(tree, BUILT)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def make_programs():
    if not os.path.isdir(BUILT):
        unpack()
    log = os.path.join(TOP, "build", "kvm-selftests.log")
    # The selftests' makefiles take a make above them for the one that says where to build: without these words of
    # ours in the environment they build where they are.  OUTPUT says so again.
    environment = {name: value for name, value in os.environ.items() if name not in OUR_MAKE}
    here = os.path.join(BUILT, INSIDE)
    with open(log, "w") as out:
        # `make headers`, since headers_install wants rsync; not all programs build everywhere, so go on (-k).
        for command in (["make", "headers"], ["make", "-C", here, "OUTPUT=" + here, "-j2", "-k", "ARCH=x86_64"]):
            subprocess.run(command, cwd=BUILT, env=environment, stdout=out, stderr=subprocess.STDOUT,
                           stdin=subprocess.DEVNULL)
    return log


def programs(build):
    named = os.environ.get("KSELFTESTS")
    folder = os.path.join(os.path.abspath(named) if named else BUILT, INSIDE)
    first = os.path.join(folder, "set_memory_region_test")
    if os.path.exists(first):
        return folder
    if named:
        stop("%s has no built selftests of KVM (%s)" % (named, INSIDE))
    if not build:
        return None
    log = make_programs()
    if not os.path.exists(first):
        stop("the selftests could not be built; see %s" % os.path.relpath(log, os.getcwd()))
    return folder


# ---- the list ---------------------------------------------------------------------------

class Row:
    def __init__(self, line):
        command, *conditions = line.split("|")
        words = command.split()
        self.quick = words[0] == "quick"
        self.command = words[1:] if self.quick else words
        self.modes, self.why, self.luck, self.luck_why = [], "", None, ""
        for condition in conditions:
            found = re.match(r"\s*(except|again) ([^:]+): (.*)", condition)
            if not found:
                stop("kvm/selftests.txt: cannot read '%s'" % line.strip())
            if found[1] == "except":
                self.modes, self.why = found[2].split(), found[3]
            else:
                self.luck, self.luck_why = found[2].strip(), found[3]

    @property
    def name(self):
        return " ".join(self.command).replace("x86_64/", "")

    def applies(self, mode):
        return not any(fnmatch.fnmatch(mode, pattern) for pattern in self.modes)


def rows():
    with open(os.path.join(TOP, "kvm", "selftests.txt")) as file:
        return [Row(line) for line in file if line.strip() and not line.startswith("#")]


# ---- running ------------------------------------------------------------------------------

def run(folder, row, mode, build=os.path.join(TOP, "build"), limit=SECONDS):
    """(pass, fail, skip or hang; seconds; what it printed), by the libraries in a folder"""
    mmu, nx = re.match(r"(.*)-nx-(on|off)$", mode).groups()
    command = [os.path.join(build, "tdpmmu-kvm"), "--mmu", mmu] + (["--nx-huge-pages"] if nx == "on" else [])
    start = time.monotonic()
    process = subprocess.Popen(command + [os.path.join(folder, row.command[0])] + row.command[1:], text=True,
                               errors="replace", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, start_new_session=True)
    try:
        output, _ = process.communicate(timeout=limit)
        word = {0: "pass", SKIP: "skip"}.get(process.returncode, "fail")
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        output, _ = process.communicate()
        word = "hang"
    return word, time.monotonic() - start, output


def reason(word, output):
    lines = [line.strip() for line in output.splitlines() if line.strip() and "faked:" not in line]
    if word == "skip":
        lines = [line for line in lines if "SKIP" in line] or lines
    return (lines or ["nothing was printed"])[-1][:150]


def run_all(folder, chosen, modes):
    results, notes, faked = {}, [], set()
    for mode in modes:
        for row in chosen:
            if not row.applies(mode):
                results[row, mode] = ("n/a", 0.0)
                continue
            word, seconds, output = run(folder, row, mode)
            again = 0
            while word == "fail" and row.luck and row.luck in output and again < TIMES_AGAIN:
                again += 1
                print("%s, %s: failed with '%s', and is run again: %s" % (row.name, mode, row.luck, row.luck_why), flush=True)
                word, seconds, output = run(folder, row, mode)
            if again and word == "pass":
                word = "again"
            results[row, mode] = (word, seconds)
            faked.update(re.findall(r"^tdpmmu-kvm: faked: (.*)$", output, re.M))
            if word not in ("pass", "again"):
                notes.append("%s, %s: %s: %s" % (row.name, mode, word, reason(word, output)))
                print(notes[-1], flush=True)
    return results, notes, faked


def print_table(chosen, modes, results):
    width = max(len(row.name) for row in chosen)
    print("\n%-*s" % (width, "seconds"), *["%12s" % mode.replace("-nx-off", "").replace("-nx-on", "+nx") for mode in modes])
    for row in chosen:
        cells = []
        for mode in modes:
            word, seconds = results[row, mode]
            cells.append("%12s" % ("%.1f%s" % (seconds, " again" if word == "again" else "") if word in ("pass", "again") else word))
        print("%-*s" % (width, row.name), *cells)


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    if not options.quick and not engine.found():
        stop("there is no engine, so nothing is fetched, built or run: `make kvm` says why")
    folder = programs(build=not options.quick)
    if folder is None or not engine.found():
        print("kvm-selftests: skipped: `make check-kvm-selftests` fetches the engine and the selftests")
        return
    modes = ["ept-pml-nx-off"] if options.quick else os.environ.get("MODES", "").split() or MODES
    for mode in modes:
        if mode not in MODES:
            stop("there is no mode %s; there are %s" % (mode, ", ".join(MODES)))
    chosen = [row for row in rows() if (row.quick or not options.quick) and re.search(options.only, row.name)]
    results, notes, faked = run_all(folder, chosen, modes)
    print_table(chosen, modes, results)
    for row in chosen:
        if row.why:
            print("n/a: %s: %s" % (row.name, row.why))
    for text in sorted(faked):
        print("faked: " + text)
    ran = [word for word, _ in results.values() if word != "n/a"]
    again = ran.count("again")
    passed = ran.count("pass") + again
    print("kvm-selftests: %d passed, %d failed%s" % (passed, len(ran) - passed, again and ", %d when run again" % again or ""))
    sys.exit(0 if passed and passed == len(ran) else 1)


if __name__ == "__main__":
    main()
