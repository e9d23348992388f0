#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""make check-fuzz-targets: a target of a user's own, examples/rig_fuzz.c, linked with libtdpmmu-fuzz.a; libFuzzer must see
the library's edges, and find a flush that the rig forgets.  Then every seed of our four targets.

check.py LIBRARY FOLDER"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

from run import LEAST_EDGES, TARGETS

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SECONDS = 120


class Checks:
    passed = failed = 0

    def see(self, good, what, output=""):
        if good:
            self.passed += 1
        else:
            self.failed += 1
            print("fuzz-targets: FAILED: %s\n%s" % (what, "\n".join(output.splitlines()[-30:])))


def run(*command):
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                              timeout=SECONDS)
        return done.returncode, done.stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, str(error)


def own_target(checks, folder, library, forgets):
    clang = os.path.join(run("sh", os.path.join(TOP, "scripts", "toolchain.sh"))[1].strip(), "bin", "clang")
    source, program = os.path.join(folder, "rig_fuzz.c"), os.path.join(folder, "rig_fuzz%d" % forgets)
    with open(os.path.join(TOP, "examples", "rig_fuzz.c"), encoding="utf-8") as file:
        text = file.read()
    checks.see("static bool forgets;" in text, "examples/rig_fuzz.c is another")
    with open(source, "w", encoding="utf-8") as file:
        file.write(text.replace("static bool forgets;", "static bool forgets = %s;" % ("true" if forgets else "false")))
    status, output = run(clang, "-g", "-O1", "-DLIBFUZZER", "-fsanitize=fuzzer", "-I", os.path.join(TOP, "include"), source,
                         library, "-lpthread", "-o", program)
    checks.see(status == 0, "a target of one's own does not link", output)
    corpus = os.path.join(folder, "corpus%d" % forgets)
    os.makedirs(corpus)
    status, output = run(program, "-runs=%d" % (1000000 if forgets else 3000), "-max_total_time=60", "-seed=1", "-len_control=0",
                         "-max_len=400", "-artifact_prefix=" + folder + "/", corpus)
    edges = re.search(r"\((\d+) inline 8-bit counters\)", output)
    checks.see(edges and int(edges.group(1)) >= LEAST_EDGES, "libFuzzer sees none of the library's edges", output)
    if forgets:
        checks.see(status not in (0, None) and "should have been told to forget" in output, "a forgotten flush is not found", output)
    else:
        checks.see(status == 0, "a rig that does right ends with %s" % status, output)
        covered = re.findall(r"cov: (\d+)", output)
        checks.see(covered and int(covered[-1]) > 800, "no more edges than a program alone has", output)


def refusals(checks, folder):
    """What cannot be made is refused in one line that names what is wrong, with nothing made."""
    out, copy, build = os.path.join(folder, "out"), os.path.join(folder, "build.sh"), os.path.join(TOP, ".clusterfuzzlite", "build.sh")
    shutil.copy(build, copy)
    for wrong, command in [
            ("SECONDS_FUZZ", ["python3", "fuzz/run.py", out, "x"]), ("SECONDS_FUZZ", ["python3", "fuzz/run.py", out, "-1"]),
            ("target apo", ["python3", "fuzz/run.py", out, "1", "apo"]),
            ("usage: ", ["sh", "fuzz/library.sh", out, "more"]), ("usage: ", ["sh", "fuzz/library.sh"]),
            ("SANITIZE ", ["SANITIZE=adress", "sh", "fuzz/library.sh", out]),
            ("ENGINE ", ["ENGINE=alf", "sh", "fuzz/targets.sh", out, out]), ("usage: ", ["sh", "fuzz/targets.sh", out]),
            ("OUT", ["sh", build]), ("SANITIZER ", ["OUT=" + out, "SANITIZER=adress", "sh", build]),
            ("SRC ", ["OUT=" + out, "sh", copy]), ("SRC ", ["OUT=" + out, "SRC=" + folder, "sh", build])]:
        status, output = run("env", "-C", TOP, *["--unset=" + name for name in ("OUT", "SRC", "SANITIZE", "SANITIZER", "ENGINE")], *command)
        checks.see(status == 2 and wrong in output and output.count("\n") == 1 and os.listdir(folder) == ["build.sh"],
                   "%s ends with %s" % (" ".join(command), status), output)
    os.unlink(copy)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    checks, (library, folder) = Checks(), sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="tdpmmu-fuzz-") as scratch:
        refusals(checks, scratch)
        for forgets in False, True:
            own_target(checks, scratch, library, forgets)
        for target in TARGETS:
            seeds = os.path.join(folder, "seeds", target)
            status, output = run(os.path.join(folder, "fuzz_" + target), "-runs=0", "-timeout=20", "-max_len=30000",
                                 "-artifact_prefix=" + scratch + "/", seeds)
            files = re.search(r"seed corpus: files: (\d+)", output)
            checks.see(status == 0 and files and int(files.group(1)) == len(os.listdir(seeds)), "seeds of " + target, output)
    print("fuzz-targets: %d passed, %d failed" % (checks.passed, checks.failed))
    return 1 if checks.failed else 0


sys.exit(main())
