#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Build and run the C tests: every tests-c/test_*.c (cmocka) and, when asked,
the torture tests, against the built library.

ctests.py plain|tsan|asan|valgrind [--torture SECONDS | --and-torture SECONDS]
          [--torture-rcu SECONDS] [--exits PROCESSES] [--only NAME]...

cmocka writes TAP; a program that plans tests and does not report each of them
(it crashed, it hung, it has none) counts as failed.
"""
import argparse
import concurrent.futures
import glob
import os
import re
import shutil
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TESTS = os.path.join(TOP, "tests-c")
TIMEOUT_SECONDS = {"plain": 300, "asan": 240, "tsan": 600, "valgrind": 900}
# A file may say what more it needs: `/* build: -ldl -O0 */`, in its first lines; paths from the top.
EXTRA = re.compile(r"/\*\s*build:\s*(.*?)\s*\*/")
# Or that it cannot do without a header: `/* needs: urcu/rculfhash.h from liburcu-dev */`,
NEEDS = re.compile(r"/\*\s*needs:\s*(\S+) from (\S+)\s*\*/")
# or that it is not for all modes: `/* modes: plain asan (and the reason) */`.
MODES = re.compile(r"/\*\s*modes:\s*([a-z ]+?)\s*\((.*?)\)\s*\*/")


def toolchain():
    return subprocess.run(["sh", os.path.join(TOP, "scripts", "toolchain.sh")], check=True,
                          capture_output=True, text=True).stdout.strip()


class Mode:
    def __init__(self, name):
        self.name = name
        self.library = os.path.join(TOP, "build", "" if name == "plain" else name)
        self.out = os.path.join(TOP, "build", "tests-" + name)
        self.compiler = os.environ.get("CC", "cc").split()
        self.flags, self.wrapper = [], []
        self.environment = dict(os.environ, CMOCKA_MESSAGE_OUTPUT="TAP")
        if name in ("tsan", "asan"):
            root = toolchain()
            runtime = os.path.join(root, "lib", "swift", "linux")
            self.compiler = [os.path.join(root, "bin", "clang")]
            self.flags = ["-fsanitize=" + {"tsan": "thread", "asan": "address"}[name],
                          "-fno-omit-frame-pointer", "-L", runtime, "-Wl,-rpath," + runtime]
            if name == "tsan":  # this runtime also watches libdispatch
                self.flags += ["-ldispatch", "-lBlocksRuntime"]
            self.environment["TSAN_OPTIONS"] = "halt_on_error=1:exitcode=66:second_deadlock_stack=1"
            self.environment["ASAN_OPTIONS"] = "detect_leaks=1:exitcode=66"
            self.environment["ASAN_SYMBOLIZER_PATH"] = os.path.join(root, "bin", "llvm-symbolizer")
            self.environment["TSAN_SYMBOLIZER_PATH"] = os.path.join(root, "bin", "llvm-symbolizer")
        if name == "valgrind":
            self.wrapper = ["valgrind", "--quiet", "--error-exitcode=66", "--leak-check=full",
                            "--show-leak-kinds=definite,indirect",
                            "--errors-for-leak-kinds=definite,indirect", "--fair-sched=yes"]
            suppressions = os.path.join(TESTS, "valgrind.supp")
            if os.path.exists(suppressions):
                self.wrapper.append("--suppressions=" + suppressions)
        self.environment["TDPMMU_TEST_MODE"] = name  # a test may make itself shorter

    def build(self, source):
        program = os.path.join(self.out, os.path.splitext(os.path.basename(source))[0])
        with open(source) as file:
            extra = EXTRA.search(file.read(2000))
        extra = extra.group(1).split() if extra else []
        # Relative to the program, so that the tree can be moved.
        run_path = os.path.relpath(self.library, self.out)
        command = self.compiler + [
            "-std=c11", "-g", "-O1" if self.flags else "-O2", "-D_GNU_SOURCE",
            "-Wall", "-Wextra", "-Werror", "-I", os.path.join(TOP, "include"), "-I", TESTS,
            *[word for word in extra if not word.startswith("-l")],
            source, "-o", program, "-L", self.library, "-Wl,-rpath,$ORIGIN/" + run_path,
            "-ltdpmmu", "-lcmocka", "-lpthread",
            *[word for word in extra if word.startswith("-l")]] + self.flags
        done = subprocess.run(command, cwd=TOP, capture_output=True, text=True)
        return program, done.returncode, done.stderr

    def why_not(self, source):
        """Why a file's tests cannot run here, or None."""
        with open(source) as file:
            text = file.read(2000)
        needs, modes = NEEDS.search(text), MODES.search(text)
        if modes and self.name not in modes.group(1).split():
            return modes.group(2)
        if needs and subprocess.run(
                [*self.compiler, "-E", "-x", "c", "-"], capture_output=True, text=True,
                input="#include <%s>\n" % needs.group(1)).returncode:
            return "there is no <%s>, which %s has" % needs.groups()
        return None

    def run(self, program, arguments=(), timeout=None):
        process = subprocess.Popen(self.wrapper + [program, *arguments], env=self.environment,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True, errors="replace")
        try:
            out, err = process.communicate(timeout=timeout or TIMEOUT_SECONDS[self.name])
            return process.returncode, out, err
        except subprocess.TimeoutExpired:
            where = where_it_stands(process.pid)
            process.kill()
            out, err = process.communicate()
            return -999, out, err + "\ntimed out; its threads stood\n" + where


def where_it_stands(pid):
    """Of a program that does not end: each thread's stack, or at least what it waits in."""
    if shutil.which("gdb"):
        try:
            done = subprocess.run(["gdb", "-batch", "-nx", "-p", str(pid), "-ex", "thread apply all bt 15"],
                                  stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                  errors="replace", timeout=60)
            if "#0" in done.stdout:
                return "\n".join(l for l in done.stdout.splitlines() if l.startswith(("Thread", "#")))
        except subprocess.TimeoutExpired:
            pass
    lines = []
    for task in sorted(glob.glob("/proc/%d/task/*" % pid)):
        try:
            state = open(task + "/stat").read().rsplit(")", 1)[1].split()[0]
            lines.append("thread %s: state %s, in %s" % (
                os.path.basename(task), state, open(task + "/syscall").read().strip()))
        except OSError as gone:
            lines.append("thread %s: %s" % (os.path.basename(task), gone.strerror))
    return "\n".join(lines)


def has_cmocka(mode):
    return subprocess.run([*mode.compiler, "-E", "-x", "c", "-"], capture_output=True, text=True, input="#include <stdarg.h>\n"
                          "#include <stddef.h>\n#include <stdint.h>\n#include <setjmp.h>\n#include <cmocka.h>\n").returncode == 0


def tail(text, lines=60):
    return "\n".join("    " + line for line in text.splitlines()[-lines:])


def one_file(mode, source):
    """Returns (name, passed, failed, what to print)."""
    name = os.path.splitext(os.path.basename(source))[0]
    reason = mode.why_not(source)
    if reason:
        return name, 0, 0, "skipped: " + reason
    program, status, errors = mode.build(source)
    if status:
        return name, 0, 1, "does not compile\n" + tail(errors)
    status, out, err = mode.run(program)
    planned = sum(int(n) for n in re.findall(r"^1\.\.(\d+)", out, re.M))
    # cmocka 1.1 begins the line of a skipped test with "not ok".
    skipped = len(re.findall(r"^(?:not )?ok \d+ .*# SKIP", out, re.M))
    passed = len(re.findall(r"^ok \d+ (?!.*# SKIP)", out, re.M))
    failed = len(re.findall(r"^not ok \d+ (?!.*# SKIP)", out, re.M))
    notes = ""
    if planned == 0:
        failed += 1
        notes = "ran no test"
    missing = planned - passed - failed - skipped
    if missing > 0:
        failed += missing
        notes = "%d of %d tests did not report" % (missing, planned)
    if status and failed == 0:
        failed += 1
        notes = "exit status %d" % status
    if skipped:
        notes += " (%d skipped)" % skipped
    if failed:
        notes += ", exit status %d\n" % status + tail(out + err)
    return name, passed, failed, notes


def torture(mode, name, amount):
    """The amount is in seconds, or in processes."""
    program, status, errors = mode.build(os.path.join(TESTS, name + ".c"))
    if status:
        print(name + " does not compile\n" + tail(errors))
        return 0, 1
    status, out, err = mode.run(program, [str(amount)], timeout=amount * 20 + 300)
    print(out, end="")
    if status:
        print(tail(err))
        print("%s: FAILED, exit status %d" % (name, status))
    return int(status == 0), int(status != 0)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", choices=sorted(TIMEOUT_SECONDS))
    parser.add_argument("--torture", type=int)
    parser.add_argument("--and-torture", type=int)
    parser.add_argument("--torture-rcu", type=int, help="if not the same as the others")
    parser.add_argument("--exits", type=int, help="processes that exit, if not a hundred for each second")
    parser.add_argument("--only", action="append")
    options = parser.parse_args()
    mode = Mode(options.mode)
    if not has_cmocka(mode):
        sys.exit("ctests.py: there is no <cmocka.h>: YES=1 sh scripts/need.sh check installs it")
    os.makedirs(mode.out, exist_ok=True)
    passed = failed = 0
    if options.torture is None:
        sources = sorted(glob.glob(os.path.join(TESTS, "test_*.c")))
        if options.only:
            sources = [s for s in sources if os.path.basename(s)[:-2] in options.only]
        if not sources:
            sys.exit("ctests.py: no tests found")
        with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
            for name, good, bad, notes in pool.map(lambda s: one_file(mode, s), sources):
                print("%-16s %3d passed, %d failed  %s" % (name, good, bad, notes), flush=True)
                passed += good
                failed += bad
    seconds = options.torture if options.torture is not None else options.and_torture
    if seconds is not None:
        for name, length in (("torture_mmu", seconds), ("stress_mmu", max(seconds, 5)),
                             ("stress_caches", max(seconds, 8)), ("torture_rcu", options.torture_rcu or seconds),
                             ("torture_exit", options.exits or seconds * (100 if mode.name == "plain" else 10))):
            good, bad = torture(mode, name, length)
            passed += good
            failed += bad
    label = "torture" if options.torture is not None else "C tests"
    if mode.name != "plain":
        label += " (%s)" % mode.name
    print("%s: %d passed, %d failed" % (label, passed, failed))
    sys.exit(1 if failed or not passed else 0)


if __name__ == "__main__":
    main()
