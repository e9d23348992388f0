#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""make check-examples: the examples for users are compiled and run, in C, Python and Swift, and what
docs/OPERATIONS.md quotes of one is what stands there.  (Those of /dev/kvm, kvm_*, are kvm/check.py's.)"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LIBRARY = os.path.join(TOP, "build", "libtdpmmu.so.1")
C = "-std=c11 -O2 -D_GNU_SOURCE -Wall -Wextra -Werror -pthread".split()
failures, passed = [], 0


def run(what, *command):
    """A command that must end with 0."""
    global passed
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, errors="replace", timeout=280)
    if done.returncode == 0:
        passed += 1
        return True
    failures.append("%s: exit status %d\n%s" % (what, done.returncode, (done.stdout + done.stderr)[-2000:]))
    return False


def in_c(work, name):
    program = os.path.join(work, name)
    if run(name + ".c compiled", *(os.environ.get("CC") or "cc").split(), *C, "-I" + os.path.join(TOP, "include"),
           os.path.join("examples", name + ".c"), "-o", program, "-Lbuild", "-ltdpmmu",
           "-Wl,-rpath," + os.path.join(TOP, "build")):
        run(name + ".c", program)


def in_swift(work, name):
    compiler = (os.environ.get("SWIFT") or "swift") + "c"
    if not shutil.which(compiler):
        print("examples: %s.swift skipped: there is no %s" % (name, compiler))
        return
    program = os.path.join(work, name)
    if run(name + ".swift compiled", compiler, "-I", "include", "-o", program, os.path.join("examples", name + ".swift"),
           "-L", "build", "-ltdpmmu", "-Xlinker", "-rpath", "-Xlinker", os.path.join(TOP, "build")):
        run(name + ".swift", program)


def quoted():
    """The operation in the text is the one that is compiled and run."""
    global passed
    with open(os.path.join(TOP, "examples", "age_dirty.c")) as file:
        operation = re.search(r"// The operation \{\n(.*?)// \}\n", file.read(), re.S)[1]
    with open(os.path.join(TOP, "docs", "OPERATIONS.md")) as file:
        blocks = re.findall(r"^```c\n(.*?)^```$", file.read(), re.S | re.M)
    if operation in blocks:
        passed += 1
    else:
        failures.append("docs/OPERATIONS.md does not quote the operation of examples/age_dirty.c as it is there")


def main():
    with tempfile.TemporaryDirectory() as work:
        in_c(work, "age_dirty")
        run("write_protect.py", sys.executable, os.path.join("examples", "write_protect.py"), LIBRARY)
        in_swift(work, "count_leaves")
    quoted()
    for failure in failures:
        print("examples: FAILED: " + failure, file=sys.stderr)
    print("examples: %d passed, %d failed" % (passed, len(failures)))
    sys.exit(1 if failures else 0)


main()
