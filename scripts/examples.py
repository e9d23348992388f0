#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""make check-examples: compile the programs in examples/ as a user would, with all warnings, and run them; see that
each does what it says, that a rig is short and finds what it is there to find, and that docs/OPERATIONS.md quotes what
stands there.  (Those of /dev/kvm, kvm_*, are kvm/check.py's.)"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MOST_LINES = 80
SECONDS = 120
STALE = r"should have been told to forget: gfn 0x[0-9a-f]+, SPTE 0x[0-9a-f]+, kvm_tdp_mmu_zap_leafs$"
# rig, arguments, the library's folder in build/, exit status or None for a signal's, what it prints
RUNS = [
    ("rig_fuzz", ["1"], "", 0, r"^no report$"),
    ("rig_fuzz", ["2"], "", 0, r"^no report$"),
    ("rig_fuzz", ["1", "forget"], "", None, STALE),
    ("rig_race", [], "", 3, r"no schedule points"),
    ("rig_race", ["--scenario", "right"], "rig", 0, r"^right .*: ok$"),
    ("rig_race", ["--scenario", "late"], "rig", 1, r"^late: --scenario late --schedule \S+$"),
    ("rig_migration", [], "", 0, r"^\d{5,} pages in \d+ rounds$"),
    ("rig_failures", [], "", 0, r"^dirty logging +[1-9]\d* refusals, then it works$"),
    ("age_dirty", [], "", 0, r"a flush is owed.*\nwith its flush: 0 reports, without: some$"),
]
# Longer than a rig.
NO_RIGS = {"age_dirty"}


class Examples:
    def __init__(self, folder):
        self.folder = folder
        self.passed = self.failed = 0

    def see(self, good, what, output=""):
        if good:
            self.passed += 1
        else:
            self.failed += 1
            print("examples: FAILED: %s\n%s" % (what, output))

    def build(self, name):
        source = os.path.join(TOP, "examples", name + ".c")
        lines = sum(1 for _ in open(source))
        self.see(lines <= MOST_LINES or name in NO_RIGS, "%s has %d lines, at most %d are allowed" % (name, lines, MOST_LINES))
        done = subprocess.run(
            [*os.environ.get("CC", "cc").split(), "-std=c11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Werror",
             source, "-I", os.path.join(TOP, "include"), "-L", os.path.join(TOP, "build"), "-ltdpmmu", "-lpthread",
             "-o", os.path.join(self.folder, name)], capture_output=True, text=True)
        self.see(done.returncode == 0, name + " does not compile", done.stderr)

    def run(self, name, arguments, library):
        """Its exit status, negative for a signal, and what it printed."""
        environment = dict(os.environ, LD_LIBRARY_PATH=os.path.join(TOP, "build", library))
        try:
            done = subprocess.run([os.path.join(self.folder, name), *arguments], env=environment, text=True,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  timeout=SECONDS)
            return done.returncode, done.stdout
        except subprocess.TimeoutExpired as late:
            return 0, "did not end in %d s\n%s" % (SECONDS, late.stdout or "")
        except OSError as missing:
            return 0, str(missing)

    def in_other_languages(self):
        library = os.path.join(TOP, "build", "libtdpmmu.so.1")
        self.command("write_protect.py", sys.executable, os.path.join("examples", "write_protect.py"), library)
        compiler = (os.environ.get("SWIFT") or "swift") + "c"
        if not shutil.which(compiler):
            print("examples: count_leaves.swift was not run: there is no " + compiler)
            return
        program = os.path.join(self.folder, "count_leaves")
        if self.command("count_leaves.swift", compiler, "-I", "include", "-o", program,
                        os.path.join("examples", "count_leaves.swift"), "-L", "build", "-ltdpmmu",
                        "-Xlinker", "-rpath", "-Xlinker", os.path.join(TOP, "build")):
            self.command("count_leaves", program)

    def command(self, what, *command):
        done = subprocess.run(command, cwd=TOP, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              errors="replace", timeout=SECONDS)
        self.see(done.returncode == 0, "%s: exit status %d" % (what, done.returncode), done.stdout + done.stderr)
        return done.returncode == 0

    def quoted(self):
        """The operation in the text is the one that is compiled and run."""
        with open(os.path.join(TOP, "examples", "age_dirty.c")) as file:
            operation = re.search(r"// The operation \{\n(.*?)// \}\n", file.read(), re.S)[1]
        with open(os.path.join(TOP, "docs", "OPERATIONS.md")) as file:
            blocks = re.findall(r"^```c\n(.*?)^```$", file.read(), re.S | re.M)
        self.see(operation in blocks, "docs/OPERATIONS.md does not quote the operation of examples/age_dirty.c as it is there")

    def compare_with_linux(self):
        ours = [self.run("rig_linux", [seed], "") for seed in ("1", "7")]
        self.see(all(status == 0 and re.match(r"\d+ changes, sum", out) for status, out in ours)
                 and ours[0] != ours[1], "rig_linux", str(ours))
        if not os.path.exists(os.path.join(TOP, "build", "linux", "libtdpmmu.so.1")):
            print("examples: rig_linux ran with this library only: there is no build/linux (make linux)")
            return
        theirs = [self.run("rig_linux", [seed], "linux") for seed in ("1", "7")]
        self.see(ours == theirs, "rig_linux is not the same on Linux's code", "%s\n%s" % (ours, theirs))


def main():
    with tempfile.TemporaryDirectory() as folder:
        examples = Examples(folder)
        for name in sorted({run[0] for run in RUNS} | {"rig_linux"}):
            examples.build(name)
        for name, arguments, library, wanted, prints in RUNS:
            status, output = examples.run(name, arguments, library)
            ended = status < 0 if wanted is None else status == wanted
            examples.see(ended and re.search(prints, output, re.M) is not None,
                         "%s: exit status %d" % (" ".join([name, *arguments]), status), output)
        examples.compare_with_linux()
        examples.in_other_languages()
        examples.quoted()
    print("examples: %d passed, %d failed" % (examples.passed, examples.failed))
    sys.exit(1 if examples.failed else 0)


main()
