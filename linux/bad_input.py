#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""What linux/build.py says to trees and machines that it cannot build on.

bad_input.py ARCHIVE    ARCHIVE: the project's objects

Each case is Debian's tree with one thing wrong, or a machine that cannot have it.  It must end with the
lines that are written here, and leave nothing behind: no traceback, no library, no directory half made.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

import build
import cut

BUILD = os.path.join(build.HERE, "build.py")
MMU = "arch/x86/kvm/mmu/mmu.c"
TDP = "arch/x86/kvm/mmu/tdp_mmu.c"


def copy_tree(tree, to):
    """The files that a build takes."""
    names = build.WHOLE + build.HEADERS + ["Makefile"] + [
        name for _, name, _ in cut.read_list(os.path.join(build.HERE, "functions.txt"))]
    for name in set(names):
        os.makedirs(os.path.dirname(os.path.join(to, name)), exist_ok=True)
        shutil.copyfile(os.path.join(tree, name), os.path.join(to, name))


def edit(tree, name, old, new):
    path = os.path.join(tree, name)
    with open(path) as file:
        text = file.read()
    text, count = re.subn(old, new, text)
    if not count:
        sys.exit("bad_input: %s does not fit %s" % (old, name))
    with open(path, "w") as file:
        file.write(text)


def halve(tree, name):
    path = os.path.join(tree, name)
    os.truncate(path, os.path.getsize(path) // 2)


def cut_short(tree, name, at):
    """In the middle of the function that begins with `at`."""
    path = os.path.join(tree, name)
    with open(path) as file:
        text = file.read()
    with open(path, "w") as file:
        file.write(text[:text.index("\n{\n", text.index(at)) + 20])


def make_directory_of(tree, name):
    os.remove(os.path.join(tree, name))
    os.makedirs(os.path.join(tree, name))


def forget_kvm(tree):
    shutil.rmtree(os.path.join(tree, "arch/x86/kvm"))
    shutil.rmtree(os.path.join(tree, "virt"))
    os.makedirs(os.path.join(tree, "arch/x86/kernel"))


def move_architecture(tree):
    os.rename(os.path.join(tree, "arch/x86"), os.path.join(tree, "arch/arm64"))


def rename_two(tree):
    edit(tree, MMU, r"\bfast_page_fault\(", "quick_page_fault(")
    edit(tree, "virt/kvm/kvm_main.c", r"\bkvm_activate_memslot\(", "kvm_use_memslot(")


def more_arguments(tree):
    edit(tree, TDP, r"(int kvm_tdp_mmu_map\(struct kvm_vcpu \*vcpu), ", r"\1, int more, ")
    edit(tree, "arch/x86/kvm/mmu/tdp_mmu.h", r"(int kvm_tdp_mmu_map\(struct kvm_vcpu \*vcpu), ", r"\1, int more, ")


def nothing(tree):
    pass


# (name, what is done to the tree, more of the environment, what each line must say)
TREES = [
    ("no Makefile", lambda tree: os.remove(os.path.join(tree, "Makefile")), {}, [r"has no kernel's Makefile; LINUX names"]),
    ("a Makefile of something else", lambda tree: edit(tree, "Makefile", r"(?m)^PATCHLEVEL.*$", ""), {},
     [r"has no kernel's Makefile; LINUX names"]),
    ("an older kernel", lambda tree: edit(tree, "Makefile", r"(?m)^PATCHLEVEL = \d+", "PATCHLEVEL = 1"), {},
     [r"is Linux \d+\.1\.\d+; take 6\.12 or newer"]),
    ("another architecture", move_architecture, {}, [r"has no arch/x86; take a tree"]),
    ("no KVM", forget_kvm, {}, [r"has no arch/x86/kvm/mmu/tdp_mmu\.c; take a tree with KVM"]),
    ("headers that are missing", lambda tree: [os.remove(os.path.join(tree, name)) for name in (
        "include/linux/hash.h", "virt/kvm/kvm_mm.h")], {},
     [r"lacks virt/kvm/kvm_mm\.h", r"lacks include/linux/hash\.h", r"nothing can be built without them"]),
    ("a source file that is missing", lambda tree: os.remove(os.path.join(tree, MMU)), {},
     [r"lacks arch/x86/kvm/mmu/mmu\.c; take the whole tree"]),
    ("functions of other names", rename_two, {},
     [r"lacks kvm_activate_memslot\(\) in virt/kvm/kvm_main\.c", r"lacks fast_page_fault\(\) in arch/x86/kvm/mmu/mmu\.c",
      r"2 things are lacking, .* mend linux/functions\.txt"]),
    ("a function with more arguments", more_arguments, {}, [r"error: .*kvm_tdp_mmu_map.*; this tree differs here"]),
    ("half a header", lambda tree: halve(tree, "arch/x86/kvm/mmu/tdp_iter.h"), {}, [r"error: .*; this tree differs here"]),
    ("most of a source file", lambda tree: cut_short(tree, MMU, "void kvm_mmu_slot_leaf_clear_dirty("), {},
     [r"lacks the end of kvm_mmu_slot_leaf_clear_dirty in arch/x86/kvm/mmu/mmu\.c"]
     + [r"lacks kvm_\w+\(\) in arch/x86/kvm/mmu/mmu\.c"] * 4 + [r"5 things are lacking"]),
    ("a file that cannot be read", lambda tree: make_directory_of(tree, TDP), {},
     [r"cannot read .*tdp_mmu\.c: .*; take another copy of the tree"]),
    ("another that cannot be read", lambda tree: make_directory_of(tree, "virt/kvm/kvm_main.c"), {},
     [r"cannot read .*kvm_main\.c: .*; take another copy of the tree"]),
    ("a compiler that fails", nothing, {"CC": "false"}, [r"the compiler failed; "]),
    ("a compiler that is not there", nothing, {"CC": "/no/such/cc"}, [r"cannot run /no/such/cc: .*; install it, or say CC=<it>"]),
]

APT = "#!/bin/sh\n%s\n"
# (name, what apt-get does, the lines)
MACHINES = [
    ("no apt-get", None, [r"there is no apt-get to fetch linux-source-6\.12 with; get a kernel tree yourself"]),
    ("no network", "echo 'E: Failed to fetch http://x' >&2; exit 100",
     [r"fetching Debian's", r"cannot fetch linux-source-6\.12: E: Failed to fetch .*; try again with a network, or get a kernel tree"]),
    ("no package", "echo 'E: Unable to locate package linux-source-6.12' >&2; exit 100",
     [r"fetching Debian's", r"cannot fetch linux-source-6\.12: E: Unable to locate package .*; try again"]),
    ("apt-get that fetches nothing", "exit 0", [r"fetching Debian's", r"apt-get download left 0 packages; try again"]),
    ("a package that is none", "echo junk >linux-source-6.12_1_all.deb", [r"fetching Debian's", r"bad package: .*; try again"]),
]


def judge(name, done, status, wanted, left):
    lines = (done.stdout + done.stderr).splitlines()
    wrong = []
    if done.returncode != status:
        wrong.append("status %d" % done.returncode)
    if len(lines) != len(wanted) or not all(
            line.startswith("make linux: ") and re.search(pattern, line) for line, pattern in zip(lines, wanted)):
        wrong.append("it says\n        " + "\n        ".join(lines) + "\n    and not\n        " + "\n        ".join(wanted))
    if left:
        wrong.append("%s is left" % ", ".join(left))
    for what in wrong:
        print("%s: %s" % (name, what))
    return not wrong


def try_tree(archive, tree, work, name, spoil, environment, wanted):
    copy, out = os.path.join(work, "tree"), os.path.join(work, "out")
    copy_tree(tree, copy)
    spoil(copy)
    done = subprocess.run([sys.executable, BUILD, archive, out], capture_output=True, text=True, cwd=work,
                          env=dict(os.environ, LINUX=copy, **environment))
    shutil.rmtree(copy)
    return judge(name, done, 1, wanted, os.listdir(work))


def try_machine(work, name, apt, wanted):
    """Where there is no tree yet: build.py's own directory is elsewhere."""
    programs = os.path.join(work, "bin")
    os.makedirs(programs)
    for tool in ("dpkg-deb", "tar", "xz", "sh"):
        if shutil.which(tool):
            os.symlink(shutil.which(tool), os.path.join(programs, tool))
    if apt:
        with open(os.path.join(programs, "apt-get"), "w") as file:
            file.write(APT % apt)
        os.chmod(os.path.join(programs, "apt-get"), 0o755)
    script = "import sys; sys.path.insert(0, %r); import build; build.TOP = %r; build.debian_tree()" % (build.HERE, work)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True,
                          env=dict(os.environ, PATH=programs))
    shutil.rmtree(programs)
    left = os.listdir(os.path.join(work, "build")) if os.path.exists(os.path.join(work, "build")) else []
    shutil.rmtree(os.path.join(work, "build"), ignore_errors=True)
    return judge(name, done, build.NO_SOURCE, wanted, left)


def main():
    archive = os.path.abspath(sys.argv[1])
    if os.environ.get("LINUX"):
        print("trees that cannot be built: not tried with a tree of your own (LINUX)")
        return
    tree = build.debian_tree()
    passed = 0
    with tempfile.TemporaryDirectory() as work:
        for case in TREES:
            passed += try_tree(archive, tree, work, *case)
        for case in MACHINES:
            passed += try_machine(work, *case)
        gone = subprocess.run([sys.executable, BUILD, archive, os.path.join(work, "out")], capture_output=True, text=True,
                              env=dict(os.environ, LINUX=os.path.join(work, "gone")))
        passed += judge("no directory", gone, 1, [r"is no directory; LINUX names"], os.listdir(work))
    cases = len(TREES) + len(MACHINES) + 1
    print("trees that cannot be built: %d passed, %d failed" % (passed, cases - passed))
    sys.exit(0 if passed == cases else 1)


if __name__ == "__main__":
    main()
