#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Bugs of linux/bugs.txt, put one by one into a copy of the kernel's tree: does the C suite find each?

bugs.py ARCHIVE [NAME]...    ARCHIVE: the project's objects

What no test finds random lists of operations are to find (docs/LISTS.md), beside our library: LISTS of
them (400).  The shortest list is printed.

The same can be done by hand, with any patch: docs/LINUX.md.
"""
import os
import re
import shutil
import subprocess
import sys

import build
import cut

TOP = build.TOP
TOOL = os.path.join(TOP, "build", "tdpmmuctl")
# What of a tree build.py takes.
PARTS = ["Makefile", "arch/x86/kvm", "include/linux", "virt/kvm", "lib/rbtree.c", "lib/interval_tree.c"]


def read_list():
    with open(os.path.join(build.HERE, "bugs.txt")) as file:
        for line in file:
            if line.strip() and not line.startswith("#"):
                words = [word.strip() for word in re.split(r"(?<!\\) \| ", line)]
                if len(words) != 6:
                    sys.exit("linux/bugs.txt: six fields are wanted: " + line.strip())
                yield words


def copy_tree(tree, to):
    shutil.rmtree(to, ignore_errors=True)
    for part in PARTS:
        source, target = os.path.join(tree, part), os.path.join(to, part)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if os.path.isdir(source):
            shutil.copytree(source, target)
        else:
            shutil.copyfile(source, target)


def put_in(tree, file, function, old, new):
    path = os.path.join(tree, file if file.startswith(("include/", "virt/")) else "arch/x86/kvm/" + file)
    piece = cut.SourceFile(path, file).cut(function).text.split("\n", 1)[1].rstrip("\n")
    changed, count = re.subn(old, new, piece)
    with open(path) as source:
        text = source.read()
    if not count or text.count(piece) != 1:
        sys.exit("linux/bugs.txt: %s does not fit this tree's %s()" % (old, function))
    with open(path, "w") as source:
        source.write(text.replace(piece, changed))


def shortest_list(library):
    """Random lists with our library and that one: the first difference, made short.  None: all are equal."""
    if not os.path.exists(TOOL):
        return None
    done = subprocess.run([TOOL, "compare", "--with", os.path.join(library, "libtdpmmu.so.1"), "--lists",
                           os.environ.get("LISTS", "400"), "--seed", "1"], capture_output=True, text=True)
    if done.returncode not in (0, 1):
        sys.exit("tdpmmuctl compare: " + (done.stderr or done.stdout).strip())
    differs = re.search(r"^(# operation .*?)$.*?^(init .*)", done.stdout, re.M | re.S)
    return done.returncode == 1 and differs and "    found by a list: %s\n    %s" % (
        differs.group(1)[2:], differs.group(2).strip().replace("\n", "\n    "))


def failing_tests(archive, tree, out, name, programs):
    """What of the C suite fails on the tree, and is not listed as such."""
    built = subprocess.run([sys.executable, os.path.join(build.HERE, "build.py"), archive, out],
                           env=dict(os.environ, LINUX=tree), capture_output=True, text=True)
    if built.returncode:
        sys.exit("%s: %s" % (name, (built.stderr or built.stdout).strip()))
    check = [sys.executable, os.path.join(build.HERE, "check.py"), "--once", "--library", out]
    for program in sorted(programs):
        check += ["--only", program]
    found = subprocess.run(check, capture_output=True, text=True)
    return re.findall(r"^(test_\w+ .*?) fails$", found.stdout, re.M)


def main():
    if not os.path.exists(TOOL):
        print("there is no build/tdpmmuctl (make): what no test finds is not looked for by lists")
    archive, names = os.path.abspath(sys.argv[1]), sys.argv[2:]
    tree = os.path.abspath(os.environ["LINUX"]) if os.environ.get("LINUX") else build.debian_tree()
    copy, out = os.path.join(TOP, "build", "linux-bug"), os.path.join(TOP, "build", "linux-bug-library")
    missed, looked = [], 0
    bugs = [bug for bug in read_list() if not names or bug[0] in names]
    copy_tree(tree, copy)
    fails = failing_tests(archive, copy, out, "no bug", {program for bug in bugs for program in bug[5].split()})
    if fails:
        sys.exit("without any bug %s fail: make check-linux says more" % ", ".join(fails))
    for name, file, function, old, new, programs in bugs:
        looked += 1
        copy_tree(tree, copy)
        put_in(copy, file, function, old, new)
        tests = failing_tests(archive, copy, out, name, programs.split())
        print("%-30s %s" % (name, "found by " + ", ".join(tests[:3]) if tests else "no test finds it"), flush=True)
        if not tests:
            found_by_list = shortest_list(out)
            print(found_by_list or "    NOT FOUND", flush=True)
            if not found_by_list:
                missed.append(name)
    shutil.rmtree(copy, ignore_errors=True)
    shutil.rmtree(out, ignore_errors=True)
    print("bugs of the kernel's put into its own code: %d of %d found" % (looked - len(missed), looked))
    sys.exit(1 if missed or not looked else 0)


if __name__ == "__main__":
    main()
