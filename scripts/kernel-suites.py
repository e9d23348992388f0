#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's own tests of what it builds upon RCU, over this library and over liburcu:
make check-kernel-suites.

The programs are those of tools/testing/radix-tree, with lib/test_xarray.c, lib/test_maple_tree.c
and the rest unmodified, from the source of Linux 6.12 that Debian packages.  It is fetched at
first use and stays in build/; nothing of it is committed.  tests-c/kernel/ has the headers that
put our RCU in liburcu's place, and those that both sides share.
"""
import concurrent.futures
import glob
import os
import re
import shutil
import subprocess
import sys
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
WORK = os.path.join(TOP, "build", "kernel-suites")
SHIMS = os.path.join(TOP, "tests-c", "kernel")
PACKAGE = "linux-source-6.12"
PARTS = ["tools/testing/radix-tree", "tools/testing/shared", "tools/include", "tools/arch", "tools/lib", "lib", "include",
         "arch/x86/include", "scripts"]
PROGRAMS = ["idr-test", "multiorder", "xarray", "main", "maple"]
LIMIT_SECONDS = 3600
SIDES = {
    "tdpmmu": (["both", "tdpmmu"], ["-L%s/build" % TOP, "-ltdpmmu", "-Wl,-rpath,%s/build" % TOP]),
    "liburcu": (["both"], ["-lurcu"]),
}


def give_up(what, remedy):
    sys.exit("kernel-suites.py: %s: %s" % (what, remedy))


def quiet(command, text="", **options):
    return subprocess.run(command, input=text, capture_output=True, text=True, errors="replace", **options)


def fetch():
    """The part of the kernel's source that is needed, in WORK/source."""
    source = os.path.join(WORK, "source")
    if os.path.exists(os.path.join(source, "complete")):
        return source
    for tool in ("apt-get", "dpkg-deb", "tar"):
        if not shutil.which(tool):
            give_up("there is no " + tool, "the kernel's source comes as a package of Debian")
    shutil.rmtree(WORK, ignore_errors=True)
    os.makedirs(source)
    print("downloading %s, about 150 MB, to build/kernel-suites" % PACKAGE, flush=True)
    if quiet(["apt-get", "download", PACKAGE], cwd=WORK).returncode:
        give_up("%s cannot be had" % PACKAGE, "look at the network, try apt-get update, or use Debian 12 or newer")
    package = glob.glob(os.path.join(WORK, PACKAGE + "_*.deb"))[0]
    unpacked = os.path.join(WORK, "package")
    subprocess.run(["dpkg-deb", "-x", package, unpacked], check=True)
    archive = glob.glob(os.path.join(unpacked, "usr/src", PACKAGE + ".tar.*"))[0]
    subprocess.run(["tar", "-xf", archive, "-C", source, "--strip-components=1",
                    *[PACKAGE + "/" + part for part in PARTS]], check=True)
    shutil.rmtree(unpacked)
    os.remove(package)
    with open(os.path.join(source, "complete"), "w"):
        pass
    return source


def build(source, side):
    """The directory of the built programs."""
    tree = os.path.join(WORK, side)
    if not os.path.exists(tree):
        shutil.copytree(source, tree, symlinks=True)
    shims, libraries = SIDES[side]
    compiler = " ".join([os.environ.get("CC", "gcc"), *["-I%s/%s" % (SHIMS, shim) for shim in shims],
                         "-I%s/include" % TOP])
    where = os.path.join(tree, "tools/testing/radix-tree")
    done = quiet(["make", "-C", where, "CC=" + compiler, "LDLIBS=-lpthread " + " ".join(libraries), *PROGRAMS])
    if done.returncode:
        errors = re.findall(r"^.*(?:error|Error).*$", done.stdout + done.stderr, re.M)
        give_up("the suites do not build over " + side, "\n".join(errors[:5]) or "no reason given")
    return where


def run(where, program):
    """(good?, what it said, seconds)"""
    start = time.monotonic()
    try:
        # Each test of theirs may leave something: they do not free all at their end.
        done = quiet(["./" + program], cwd=where, timeout=LIMIT_SECONDS,
                     env=dict(os.environ, ASAN_OPTIONS="detect_leaks=0", UBSAN_OPTIONS="halt_on_error=0"))
    except subprocess.TimeoutExpired:
        return False, "no end", LIMIT_SECONDS
    text = done.stdout + done.stderr
    counts = re.findall(r"(\d+) of (\d+) tests passed", text)
    said = ", ".join("%s of %s" % count for count in counts) or "ends well" * (done.returncode == 0)
    good = done.returncode == 0 and all(a == b for a, b in counts) and "AddressSanitizer" not in text
    if not good:
        said += "; exit status %d\n%s" % (done.returncode, "\n".join(text.splitlines()[-15:]))
    return good, said, time.monotonic() - start


def main():
    source = fetch()
    if quiet(["gcc", "-E", "-x", "c", "-"], "#include <urcu.h>\n").returncode:
        give_up("there is no <urcu.h>", "install liburcu-dev")
    programs = sys.argv[1:] or PROGRAMS
    places = {side: build(source, side) for side in SIDES}
    print("%-12s %-8s %8s  %s" % ("program", "RCU", "seconds", "tests passed"))
    passed = failed = 0
    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        jobs = [(program, side, pool.submit(run, places[side], program)) for program in programs for side in SIDES]
        for program, side, job in jobs:
            good, said, seconds = job.result()
            print("%-12s %-8s %8.1f  %s%s" % (program, side, seconds, "" if good else "FAILED: ", said), flush=True)
            passed, failed = passed + good, failed + (not good)
    print("kernel suites: %d passed, %d failed" % (passed, failed))
    sys.exit(1 if failed or not passed else 0)


if __name__ == "__main__":
    main()
