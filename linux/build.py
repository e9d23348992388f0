#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Make build/linux/libtdpmmu.so.1: Linux's own TDP MMU behind the project's header.

build.py ARCHIVE [OUT]     ARCHIVE: the project's objects, OUT: build/linux

Source is the tree that LINUX names, 6.12 or newer; without LINUX Debian's package
linux-source-6.12, which is fetched and unpacked into build/.  All is made in a directory of its
own and takes its name only when it is whole.
"""
import os
import re
import shutil
import subprocess
import sys

import cut

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
HERE = os.path.join(TOP, "linux")
PACKAGE = "linux-source-6.12"
OLDEST = (6, 12)

# The kernel's files that are compiled as they are.
WHOLE = ["arch/x86/kvm/mmu/tdp_iter.c", "arch/x86/kvm/mmu/tdp_mmu.c", "arch/x86/kvm/mmu/spte.c",
         "virt/kvm/dirty_ring.c", "lib/rbtree.c", "lib/interval_tree.c"]
# Headers that they and we take as they are.
HEADERS = ["arch/x86/kvm/mmu.h", "arch/x86/kvm/mmu/tdp_iter.h", "arch/x86/kvm/mmu/tdp_mmu.h",
           "arch/x86/kvm/mmu/spte.h", "arch/x86/kvm/mmu/mmu_internal.h", "arch/x86/kvm/mmu/mmutrace.h",
           "virt/kvm/kvm_mm.h", "include/linux/kvm_dirty_ring.h", "include/linux/list.h",
           "include/linux/rculist.h", "include/linux/poison.h", "include/linux/hash.h",
           "include/linux/hashtable.h", "include/linux/rbtree.h", "include/linux/rbtree_types.h",
           "include/linux/rbtree_augmented.h", "include/linux/interval_tree.h",
           "include/linux/interval_tree_generic.h"]
# Headers of the system, which a program and the kernel name alike.
SYSTEM = {"linux/types.h", "asm/types.h", "linux/stddef.h", "linux/const.h", "linux/kvm.h"}
# Exported names that are the project's on both sides; all others must be Linux's.
OURS_HEADERS = re.compile(r"(s?rcu.*|lock|list|urcu_flavor|rig_fail|rig_explore)\.h")
# Lists of the kernel's sort are the kernel's own, and so are its names.
LISTS = re.compile(r"(rcu)?list.*\.h|urcu_flavor\.h|kernel\.h|walk\.h")
OURS = {"tdpmmu_set_warn_handler", "tdpmmu_version", "tdpmmu_trace_name", "tdpmmu_trace_ring_size",
        "tdpmmu_trace_read", "tdpmmu_trace_write"}
GLUE = ["kvm_main", "x86", "mmu", "memory", "masks", "hooks", "events", "told", "face_vm",
        "face_faults", "face_iter", "face_primitives", "face_ranges", "face_rig", "face_eyes", "face_pml", "face_check"]
FLAGS = ("-std=gnu11 -O2 -g -fPIC -fvisibility=hidden -fno-strict-aliasing -fwrapv -ffunction-sections "
         "-fno-delete-null-pointer-checks -pthread -D_GNU_SOURCE -Wall -Werror=implicit-function-declaration -Wno-unused -Wno-format "
         "-Wno-pointer-sign -Wno-sign-compare -Wno-address-of-packed-member -Wno-attributes").split()


# Exit status where there is no source to build from: nothing of ours is wrong.
NO_SOURCE = 3
# Whose words they are: kvm/selftests.py fetches the same source.
CALLER = "make linux"


def stop(text, status=1):
    """One line that says what is wrong and what to do."""
    print("%s: %s" % (CALLER, text), file=sys.stderr)
    sys.exit(status)


def run(command, what, advice, status=1, **options):
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", **options)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        wrong = [line for line in lines if "error" in line.lower()] or lines or ["exit status %d" % done.returncode]
        stop("%s: %s; %s" % (what, wrong[0].strip(), advice), status)
    return done.stdout


# ---- the tree ----------------------------------------------------------------------

def debian_tree():
    """Debian's source, fetched and unpacked once."""
    tree = os.path.join(TOP, "build", "linux-source")
    if os.path.exists(os.path.join(tree, "Makefile")):
        return tree
    work = os.path.join(TOP, "build", "linux-source.new")
    shutil.rmtree(work, ignore_errors=True)
    os.makedirs(work)
    try:
        fetch(tree, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return tree


def fetch_archive(work, name="LINUX"):
    """Debian's source package, fetched and unpacked in work: the archive that is in it, and its version.  `name`:
    what names a tree of the user's instead."""
    for tool in ("apt-get", "dpkg-deb", "tar", "xz"):
        if not shutil.which(tool):
            stop("there is no %s to fetch %s with; get a kernel tree yourself and say %s=<it>" % (tool, PACKAGE, name),
                 NO_SOURCE)
    otherwise = "try again with a network, or get a kernel tree and say %s=<it>" % name
    run(["apt-get", "download", PACKAGE], "cannot fetch " + PACKAGE, otherwise, NO_SOURCE, cwd=work)
    packages = [name for name in os.listdir(work) if name.endswith(".deb")]
    if len(packages) != 1:
        stop("apt-get download left %d packages; %s" % (len(packages), otherwise), NO_SOURCE)
    package = os.path.join(work, packages[0])
    fetched = run(["dpkg-deb", "-f", package, "Package"], "bad package", otherwise, NO_SOURCE).strip()
    if fetched != PACKAGE:
        stop("fetched %s instead of %s; %s" % (fetched, PACKAGE, otherwise))
    version = run(["dpkg-deb", "-f", package, "Version"], "bad package", otherwise).strip()
    run(["dpkg-deb", "-x", package, os.path.join(work, "package")], "cannot unpack the package", otherwise)
    archive = os.path.join(work, "package", "usr", "src", PACKAGE + ".tar.xz")
    if not os.path.exists(archive):
        stop("%s %s has no usr/src/%s.tar.xz; %s" % (PACKAGE, version, PACKAGE, otherwise))
    return archive, version


def fetch(tree, work):
    print("make linux: fetching Debian's %s (about 150 MB) and unpacking its KVM into build/linux-source" % PACKAGE,
          flush=True)
    archive, version = fetch_archive(work)
    parts = ["Makefile", "arch/x86/kvm", "arch/x86/include", "include/linux", "virt/kvm", "lib/rbtree.c",
             "lib/interval_tree.c"]
    out = os.path.join(work, "tree")
    os.makedirs(out)
    run(["tar", "-C", out, "--strip-components=1", "-xJf", archive, *[PACKAGE + "/" + part for part in parts]],
        "cannot unpack the kernel", "try again with a network, or get a kernel tree and say LINUX=<it>")
    check_tree(out)
    os.rename(out, tree)
    print("make linux: %s %s is in build/linux-source" % (PACKAGE, version), flush=True)


def version_of(tree):
    try:
        with open(os.path.join(tree, "Makefile")) as file:
            text = file.read(4000)
    except OSError:
        return None
    found = [re.search(r"^%s\s*=\s*(\d+)" % word, text, re.M) for word in ("VERSION", "PATCHLEVEL", "SUBLEVEL")]
    return tuple(int(word.group(1)) for word in found) if all(found) else None


def check_tree(tree):
    if not os.path.isdir(tree):
        stop("%s is no directory; LINUX names an unpacked kernel tree" % tree)
    version = version_of(tree)
    if version is None:
        stop("%s has no kernel's Makefile; LINUX names the top of an unpacked kernel tree" % tree)
    if version[:2] < OLDEST:
        stop("%s is Linux %d.%d.%d; take 6.12 or newer" % ((tree,) + version))
    if not os.path.isdir(os.path.join(tree, "arch", "x86")):
        stop("%s has no arch/x86; take a tree that has the x86 architecture" % tree)
    if not os.path.exists(os.path.join(tree, WHOLE[1])):
        stop("%s has no %s; take a tree with KVM in it" % (tree, WHOLE[1]))
    lacking = [name for name in WHOLE + HEADERS if not os.path.exists(os.path.join(tree, name))]
    for name in lacking:
        print("make linux: Linux %d.%d.%d lacks %s" % (version + (name,)), file=sys.stderr)
    if lacking:
        stop("nothing can be built without them; take the whole tree")
    return version


# ---- what is made of it ------------------------------------------------------------------

def exported():
    with open(os.path.join(TOP, "tdpmmu.map")) as file:
        return re.findall(r"^    (\w+);", file.read(), re.M)


def ours():
    text = ""
    for name in filter(OURS_HEADERS.fullmatch, os.listdir(os.path.join(TOP, "include", "tdpmmu"))):
        with open(os.path.join(TOP, "include", "tdpmmu", name)) as file:
            text += file.read()
    return {name for name in exported() if name in OURS or re.search(r"\b%s\b" % name, text)}


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


def face_header(out):
    """The public headers, with the structs that the kernel has too under names of their own."""
    headers = [name for name in sorted(os.listdir(os.path.join(TOP, "include", "tdpmmu"))) if not LISTS.fullmatch(name)]
    text = ('#pragma GCC visibility push(default)\n#include "tdpmmu_views.h"\n%s#include "tdpmmu_views_end.h"\n'
            '#pragma GCC visibility pop\n' % "".join('#include "tdpmmu/%s"\n' % name for name in headers))
    include = os.path.join(out, "include")
    shutil.copytree(os.path.join(TOP, "include"), include, dirs_exist_ok=True)
    vm = os.path.join(include, "tdpmmu", "vm.h")
    with open(vm) as file:
        body = file.read()
    for name in ("kvm", "kvm_memory_slot"):
        body, n = re.subn(r"^struct %s \{" % name, "struct face_%s {" % name, body, flags=re.M)
        if n != 1:
            stop("include/tdpmmu/vm.h has no struct %s; mend linux/build.py" % name)
    write(vm, body)
    views = ["kvm_mmu_page", "kvm_gfn_range", "tdp_iter"]
    results = ["CONTINUE", "RETRY", "EMULATE", "WRITE_PROTECTED", "INVALID", "FIXED", "SPURIOUS"]
    names = [(v, "face_" + v) for v in views] + [("RET_PF_" + r, "FACE_RET_PF_" + r) for r in results]
    write(os.path.join(out, "tdpmmu_views.h"), "".join("#define %s %s\n" % pair for pair in names))
    ends = [name for name, _ in names] + ["SHADOW_NONPRESENT_VALUE", "FROZEN_SPTE", "SPTE_ENT_PER_PAGE",
                                          "for_each_tdp_pte", "for_each_tdp_pte_min_level", "rcu_dereference",
                                          "rcu_dereference_protected", "rcu_access_pointer", "srcu_dereference"]
    write(os.path.join(out, "tdpmmu_views_end.h"), "".join("#undef %s\n" % name for name in ends))
    write(os.path.join(out, "tdpmmu_face.h"), text)


def names_headers(out):
    mine = sorted(set(exported()) - ours())
    write(os.path.join(out, "linux_names.h"), "".join("#define %s linux_%s\n" % (n, n) for n in mine))
    write(os.path.join(out, "linux_names_end.h"), "".join("#undef %s\n" % n for n in mine))
    return mine


def masks_header(out, source):
    found = []
    for name in ("arch/x86/kvm/mmu/spte.h", "arch/x86/kvm/mmu.h"):
        with open(os.path.join(source, name)) as file:
            found += re.findall(r"^extern (?:u64|bool) __read_mostly (\w+);", file.read(), re.M)
    write(os.path.join(out, "linux_masks.h"), "".join("LINUX_MASK(%s)\n" % name for name in found))


def copy_files(tree, out):
    source = os.path.join(out, "src")
    for name in WHOLE + HEADERS:
        target = os.path.join(source, name)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copyfile(os.path.join(tree, name), target)
    return source


def empty_headers(source, out):
    """Whatever else the kernel's files name is empty: kernel.h has said it all."""
    empty = os.path.join(out, "empty")
    for name in WHOLE + HEADERS:
        with open(os.path.join(source, name), errors="replace") as file:
            text = file.read()
        for angle, quoted in re.findall(r'#\s*include\s+(?:<([^>]+)>|"([^"]+)")', text):
            header = angle or quoted
            known = header in SYSTEM or os.path.exists(os.path.join(source, "include", header)) or any(
                os.path.exists(os.path.join(source, folder, header))
                for folder in ("arch/x86/kvm", "arch/x86/kvm/mmu", "virt/kvm"))
            if not known:
                target = os.path.join(empty, header)
                os.makedirs(os.path.dirname(target), exist_ok=True)
                write(target, "")
    return empty


def cut_all(tree, out, version):
    """The .inc files; prototypes of all.  A line for each thing that the tree lacks."""
    prototypes, lacking, pieces = [], [], {}
    for into, name, wanted in cut.read_list(os.path.join(HERE, "functions.txt")):
        try:
            file = cut.SourceFile(os.path.join(tree, name), name)
        except FileNotFoundError:
            stop("Linux %d.%d.%d lacks %s; take the whole tree" % (version + (name,)))
        found = []
        for thing in wanted:
            try:
                found.append(file.cut(thing))
            except cut.Lacks as lack:
                lacking.append((name, str(lack)))
        found.sort(key=lambda piece: piece.line)
        pieces.setdefault(into, []).extend(found)
    for into, found in pieces.items():
        forward = [p.prototype for p in found if p.prototype and p.prototype.startswith("static")
                   and "inline" not in p.prototype]
        prototypes += [p.prototype for p in found if p.prototype and not p.prototype.startswith("static")]
        text = "".join(p.text for p in found)
        write(os.path.join(out, into + ".inc"), text)
        write(os.path.join(out, into + "_forward.inc"), "\n".join(forward) + "\n")
    write(os.path.join(out, "linux_prototypes.h"), "\n".join(prototypes) + '\n#include "inlines.inc"\n')
    for name, lack in lacking:
        print("make linux: Linux %d.%d.%d lacks %s in %s" % (version + (lack, name)), file=sys.stderr)
    return lacking


def compile_all(out, source, empty):
    compiler = os.environ.get("CC", "gcc").split() or ["gcc"]
    if not shutil.which(compiler[0]):
        stop("cannot run %s: there is no such compiler; install it, or say CC=<it>" % compiler[0])
    include = ["-I" + os.path.join(HERE, "shim"), "-I" + out, "-I" + os.path.join(out, "include"),
               "-I" + os.path.join(source, "include"), "-I" + empty, "-I" + os.path.join(source, "arch/x86/kvm"),
               "-I" + os.path.join(source, "arch/x86/kvm/mmu"), "-I" + os.path.join(source, "virt/kvm")]
    flags = FLAGS + ["-ffile-prefix-map=%s=linux" % out, "-ffile-prefix-map=%s=." % TOP]
    jobs = []
    for name in WHOLE:
        # Where a walk may yield the rig is asked of the place, which the walk knows as `iter`.
        walks = os.path.join(HERE, "shim", "walks.h")
        extra = ["-DLINUX_ITER=iter", "-include", walks] if name.endswith("tdp_mmu.c") else []
        jobs.append((os.path.join(source, name), extra, include))
    for name in GLUE:
        jobs.append((os.path.join(HERE, "glue", name + ".c"), [], include))
    objects, running, failed = [], [], None
    for path, extra, include in jobs:
        target = os.path.join(out, os.path.basename(path)[:-2] + ".o")
        objects.append(target)
        kernel = ["-include", os.path.join(HERE, "shim", "kernel.h")]
        command = compiler + flags + include + kernel + extra + ["-c", path, "-o", target]
        running.append((path, subprocess.Popen(command, stderr=subprocess.PIPE, text=True, errors="replace")))
        if len(running) >= 3:
            failed = failed or wait_for(running.pop(0))
    for job in running:
        failed = failed or wait_for(job)
    if failed:
        stop(failed)
    return objects


def wait_for(job):
    path, process = job
    _, errors = process.communicate()
    if os.environ.get("VERBOSE"):
        sys.stderr.write(errors)
    if process.returncode == 0:
        return None
    wrong = [line for line in errors.splitlines() if "error" in line] or [errors.strip() or "the compiler failed"]
    return "%s; this tree differs here from what linux/ knows (VERBOSE=1 prints all)" % wrong[0].strip()


def link(archive, out, objects, mine):
    """The project's objects with their MMU names given up, and Linux's."""
    defined = set()
    for line in run(["nm", "--defined-only", *objects], "nm", "install binutils").splitlines():
        words = line.split()
        if len(words) == 3 and words[1] == "T":
            defined.add(words[2])
    lacking = sorted(set(mine) - defined)
    if lacking:
        stop("linux/glue does not define %s; mend it" % ", ".join(lacking))
    write(os.path.join(out, "given-up.txt"), "\n".join(mine) + "\n")
    project = os.path.join(out, "project.a")
    run(["objcopy", "--weaken-symbols=" + os.path.join(out, "given-up.txt"), archive, project],
        "objcopy", "install binutils")
    library = os.path.join(out, "lib", "libtdpmmu.so.1")
    run(["sh", os.path.join(TOP, "scripts", "link.sh"), project, library, "symbols"], "cannot link",
        "run make lib and look at linux/glue", cwd=TOP, env=dict(os.environ, LINK_ALSO=" ".join(objects)))
    shown = run(["nm", "-D", "--defined-only", library], "nm", "install binutils")
    hidden = sorted(name for name in exported() if not re.search(r" %s(@|$)" % name, shown, re.M))
    if hidden:
        stop("the library does not export %s; mend linux/glue" % ", ".join(hidden))
    left = sorted({line.split()[-1] for line in run(["nm", library], "nm", "install binutils").splitlines()
                   if re.search(r" [tT] \$e?s3MMU|\$e?s9PageTable", line)})
    if left:
        stop("the library still has the project's own MMU in it: %s ...; mend linux/build.py" % left[0])
    return library


def main():
    archive = os.path.abspath(sys.argv[1])
    final = os.path.abspath(sys.argv[2] if len(sys.argv) > 2 else os.path.join(TOP, "build", "linux"))
    tree = os.environ.get("LINUX")
    tree = os.path.abspath(tree) if tree else debian_tree()
    version = check_tree(tree)
    out = final + ".new"
    # What an earlier run made is of another tree, perhaps: it goes before anything can fail.
    shutil.rmtree(final, ignore_errors=True)
    shutil.rmtree(out, ignore_errors=True)
    os.makedirs(out)
    try:
        make(archive, tree, version, out, final)
    except OSError as error:
        advice = "take another copy of the tree" if str(error.filename).startswith(tree) else "mend that"
        stop("cannot read %s: %s; %s" % (error.filename, error.strerror, advice))
    finally:
        shutil.rmtree(out, ignore_errors=True)
    print("make linux: %s is Linux %d.%d.%d's TDP MMU" % (
        (os.path.relpath(os.path.join(final, "libtdpmmu.so.1"), os.getcwd()),) + version))


def make(archive, tree, version, out, final):
    source = copy_files(tree, out)
    face_header(out)
    mine = names_headers(out)
    masks_header(out, source)
    empty = empty_headers(source, out)
    lacking = cut_all(tree, out, version)
    if lacking:
        stop("%d things are lacking, and what needs them cannot be built; mend linux/functions.txt for this tree"
             % len(lacking))
    library = link(archive, out, compile_all(out, source, empty), mine)
    write(os.path.join(out, "lib", "VERSION"), "Linux %d.%d.%d\n" % version)
    os.rename(os.path.dirname(library), final)


if __name__ == "__main__":
    main()
