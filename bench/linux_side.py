# SPDX-License-Identifier: GPL-2.0-only
"""Linux's TDP MMU as the other side of bench-mmu: the tree of `make linux`, compiled without its glue.

What is needed is cut out of the tree once and compiled with each set of flags.  linux/build.py says in
one line what is wrong and ends the program, if something is."""
import os
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(TOP, "linux"))
import build  # noqa: E402  (linux/build.py)

BARE = os.path.join(TOP, "bench", "linux")
GLUE = [os.path.join(TOP, "linux", "glue", "kvm_main.c"), os.path.join(TOP, "linux", "glue", "x86.c"),
        os.path.join(BARE, "bare_mmu.c"), os.path.join(BARE, "bare.c")]
FLAGS = ("-std=gnu11 -g -fvisibility=hidden -fno-strict-aliasing -fwrapv -fno-delete-null-pointer-checks -pthread "
         "-D_GNU_SOURCE -Wall -Werror=implicit-function-declaration -Wno-unused -Wno-format -Wno-pointer-sign "
         "-Wno-sign-compare -Wno-address-of-packed-member -Wno-attributes").split()


def tree():
    """The tree that LINUX names, or Debian's, and its version."""
    named = os.environ.get("LINUX")
    found = os.path.abspath(named) if named else build.debian_tree()
    return found, build.check_tree(found)


def files(tree):
    """What is taken of the tree."""
    cut = {name for _, name, _ in build.cut.read_list(os.path.join(TOP, "linux", "functions.txt"))}
    return [os.path.join(tree, name) for name in {*build.WHOLE, *build.HEADERS, *cut}]


class Linux:
    def __init__(self, tree, version, out):
        self.out = out
        os.makedirs(out, exist_ok=True)
        self.source = build.copy_files(tree, out)
        build.face_header(out)
        build.names_headers(out)
        build.masks_header(out, self.source)
        self.empty = build.empty_headers(self.source, out)
        lacking = build.cut_all(tree, out, version)
        if lacking:
            build.stop("%d things are lacking in this tree" % len(lacking))

    def flags(self):
        include = [os.path.join(TOP, "linux", "shim"), os.path.join(TOP, "linux"), BARE, self.out,
                   os.path.join(self.out, "include"), os.path.join(self.source, "include"), self.empty]
        include += [os.path.join(self.source, folder) for folder in ("arch/x86/kvm", "arch/x86/kvm/mmu", "virt/kvm")]
        return FLAGS + ["-I" + path for path in include] + ["-include", os.path.join(BARE, "bare.h")]

    def link(self, compiler, program, flags, sources, libraries):
        """A program of Linux's files, the glue and these sources, all compiled with these flags."""
        kernel = [os.path.join(self.source, name) for name in build.WHOLE]
        command = compiler + self.flags() + flags + ["-I" + os.path.join(TOP, "bench"), "-DSIDE_LINUX",
                                                     *sources, *kernel, *GLUE, "-o", program, *libraries]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
        if done.returncode:
            wrong = [line for line in done.stderr.splitlines() if "error" in line]
            build.stop((wrong or [done.stderr.strip()])[0])
