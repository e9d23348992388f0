#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Compile and run the very text of the C programs in README.md and docs/TUTORIAL.md.

A program is a block that begins with ```c; where a block of ```text follows it, that is what it prints.
doc_examples.py          all of them
doc_examples.py --write  put what the tutorial's programs print into docs/TUTORIAL.md"""
import os
import re
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# File: how many programs it has, and how long one may be.
FILES = {"README.md": (1, 25), "docs/TUTORIAL.md": (5, 75)}
BLOCK = re.compile(r"^```c\n(?P<program>.*?)^```\n(?:\n```text\n(?P<output>.*?)^```\n)?", re.M | re.S)
TIMEOUT_SECONDS = 120


def programs(path):
    """(number, program, output or None, the lines of the file that it is)"""
    with open(os.path.join(TOP, path)) as file:
        text = file.read()
    found = list(BLOCK.finditer(text))
    count, limit = FILES[path]
    if len(found) != count:
        raise ValueError("%s has %d C programs, not %d" % (path, len(found), count))
    for number, match in enumerate(found, 1):
        if match["program"].count("\n") > limit:
            raise ValueError("%s: program %d has more than %d lines" % (path, number, limit))
        yield number, match["program"], match["output"]


def perform(program):
    """(what it printed, what is wrong or None)"""
    with tempfile.TemporaryDirectory() as folder:
        source, binary = os.path.join(folder, "example.c"), os.path.join(folder, "example")
        with open(source, "w") as file:
            file.write(program)
        build = [*os.environ.get("CC", "cc").split(), "-std=c11", "-Wall", "-Wextra", "-Werror", "-pthread", "-Iinclude", source,
                 "-Lbuild", "-ltdpmmu", "-Wl,-rpath," + os.path.join(TOP, "build"), "-o", binary]
        done = subprocess.run(build, cwd=TOP, capture_output=True, text=True)
        if done.returncode:
            return "", "does not compile\n" + done.stderr
        try:
            done = subprocess.run([binary], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            return "", "does not end"
    if done.returncode or done.stderr or not done.stdout:
        return done.stdout, "ends with %d\n%s%s" % (done.returncode, done.stdout, done.stderr)
    return done.stdout, None


def check():
    passed = failed = 0
    for path in FILES:
        try:
            for number, program, wanted in programs(path):
                printed, problem = perform(program)
                if not problem and wanted is not None and printed != wanted:
                    problem = "prints\n%sand not, as it says,\n%s" % (printed, wanted)
                if problem:
                    print("%s: program %d %s" % (path, number, problem), file=sys.stderr)
                failed += bool(problem)
                passed += not problem
        except ValueError as error:
            print(error, file=sys.stderr)
            failed += 1
    print("readme: %d passed, %d failed" % (passed, failed))
    return 1 if failed or not passed else 0


def write():
    path = os.path.join(TOP, "docs", "TUTORIAL.md")
    with open(path) as file:
        text = file.read()

    def replaced(match):
        printed, problem = perform(match["program"])
        if problem:
            raise SystemExit("docs/TUTORIAL.md: " + problem)
        return "```c\n%s```\n\n```text\n%s```\n" % (match["program"], printed)

    text = BLOCK.sub(replaced, text)
    with open(path, "w") as file:
        file.write(text)


def main():
    if sys.argv[1:] == ["--write"]:
        return write()
    if sys.argv[1:]:
        return __doc__
    return check()


if __name__ == "__main__":
    sys.exit(main())
