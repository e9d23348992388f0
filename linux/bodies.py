#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Make build/bodies/libtdpmmu.so.1: this library, whose operations are the kernel's own functions,
compiled as they stand against tdpmmu/kernel.h and its primitives.

bodies.py ARCHIVE [OUT]     ARCHIVE: the project's objects, OUT: build/bodies
bodies.py --patch ARCHIVE   those of examples/patch_operations.h instead, in build/bodies-patch; wants no source

Where build.py puts all of Linux's TDP MMU behind the interface, here the tables, the walk and every
change of an SPTE are the library's, and only what is written with them is the kernel's.  Which
functions: bodies/functions.txt.  Source is that of build.py.
"""
import os
import re
import shutil
import sys

import build
import cut

TOP = build.TOP
HERE = os.path.join(TOP, "linux", "bodies")
build.CALLER = "make bodies"
FLAGS = "-std=gnu11 -O2 -g -fPIC -pthread -D_GNU_SOURCE -Wall -Wextra -Werror -Wno-unused-parameter -Wno-sign-compare".split()


def cut_all(tree, out):
    """The .inc files; the functions that are in them, and what the tree lacks."""
    found, lacking = [], []
    for into, name, wanted in cut.read_list(os.path.join(HERE, "functions.txt")):
        file, pieces = cut.SourceFile(os.path.join(tree, name), name), []
        for thing in wanted:
            try:
                pieces.append(file.cut(thing.lstrip("?")))
            except cut.Lacks as lack:
                if not thing.startswith("?"):
                    build.stop("the tree has no %s; mend linux/bodies/functions.txt for it" % lack)
                lacking.append(thing[1:])
        pieces.sort(key=lambda piece: piece.line)
        build.write(os.path.join(out, into + ".inc"), "".join(piece.text for piece in pieces))
        found += [piece.name for piece in pieces if piece.prototype]
    return found, lacking


def names_headers(out, names):
    build.write(os.path.join(out, "body_names.h"), "".join("#define %s body_%s\n" % (n, n) for n in names))
    build.write(os.path.join(out, "body_names_end.h"), "".join("#undef %s\n" % n for n in names))


def compile_and_link(archive, out, source):
    """The library; which of its functions are the kernel's."""
    compiler = os.environ.get("CC", "gcc").split() or ["gcc"]
    object_file = os.path.join(out, "bodies.o")
    build.run(compiler + FLAGS + ["-I" + os.path.join(TOP, "include"), "-I" + out, "-ffile-prefix-map=%s=bodies" % out,
                                  "-ffile-prefix-map=%s=." % TOP, "-c", os.path.join(HERE, source), "-o", object_file],
              source + " does not compile against tdpmmu/kernel.h", "mend that")
    exported = set(build.exported())
    taken = sorted(set(re.findall(r" T (\w+)$", build.run(["nm", "--defined-only", object_file], "nm", "install binutils"),
                                  re.M)) & exported)
    # The library's own are still there, as own_X: for what the kernel's callers never pass.
    build.write(os.path.join(out, "given-up.txt"), "".join("%s own_%s\n" % (name, name) for name in taken))
    project = os.path.join(out, "project.a")
    build.run(["objcopy", "--redefine-syms=" + os.path.join(out, "given-up.txt"), archive, project], "objcopy",
              "install binutils")
    build.run(["sh", os.path.join(TOP, "scripts", "link.sh"), project, os.path.join(out, "lib", "libtdpmmu.so.1"), "symbols"],
              "cannot link", "run make lib", cwd=TOP, env=dict(os.environ, LINK_ALSO=object_file))
    return taken


def make(final, work):
    """A directory of its own, which takes its name when all is in it; what work() gave."""
    out = final + ".new"
    shutil.rmtree(final, ignore_errors=True)
    shutil.rmtree(out, ignore_errors=True)
    os.makedirs(out)
    try:
        result = work(out)
        os.rename(os.path.join(out, "lib"), final)
    finally:
        shutil.rmtree(out, ignore_errors=True)
    return result


def kernels(archive, final):
    tree = os.environ.get("LINUX")
    tree = os.path.abspath(tree) if tree else build.debian_tree()
    version = build.check_tree(tree)

    def work(out):
        names, lacking = cut_all(tree, out)
        names_headers(out, names)
        return names, lacking, compile_and_link(archive, out, "bodies.c")

    names, lacking, taken = make(final, work)
    for name in lacking:
        print("make bodies: Linux %d.%d.%d has no %s: skipped" % (version + (name,)))
    print("make bodies: %d functions of Linux %d.%d.%d, unmodified, behind %d of the interface's, in %s" % (
        (len(names),) + version + (len(taken), os.path.relpath(os.path.join(final, "libtdpmmu.so.1"), os.getcwd()))))


def main():
    arguments = [argument for argument in sys.argv[1:] if argument != "--patch"]
    archive = os.path.abspath(arguments[0])
    is_patch = "--patch" in sys.argv
    final = os.path.abspath(arguments[1]) if len(arguments) > 1 else os.path.join(
        TOP, "build", "bodies-patch" if is_patch else "bodies")
    if not is_patch:
        kernels(archive, final)
        return
    taken = make(final, lambda out: compile_and_link(archive, out, "patch.c"))
    print("make bodies: examples/patch_operations.h behind %d of the interface's functions" % len(taken))


if __name__ == "__main__":
    main()
