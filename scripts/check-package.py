#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""make check-package: what distributions look for, and what libraries of renown have.  Each row is looked at or run, and
told in one line:  Y NAME: how it was seen   or   N NAME: what is missing.

check-package.py [NAME...]    ROWS="NAME,..." of make: only the rows whose names begin so

`make all` is made first; pages, too, where something is installed.  Some rows build again (tarball, reproducible, offline, out of tree, deb/rpm): minutes."""
import functools
import glob
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

import symbols

TOP = symbols.TOP
SONAME = "libtdpmmu.so.1"
SECONDS = 1500
LOG = os.path.join(TOP, "build", "check-package.log")
NOBODY = 65534
EXAMPLE = """#include <stdio.h>
#include <tdpmmu.h>
int main(void)
{
    struct kvm *kvm = tdpmmu_create_vm(NULL);
    rcu_read_lock();
    rcu_read_unlock();
    synchronize_rcu();
    tdpmmu_destroy_vm(kvm);
    puts(tdpmmu_version());
    return !kvm;
}
"""
CMAKE = """cmake_minimum_required(VERSION 3.18)
project(use C)
find_package(tdpmmu %s REQUIRED)
add_executable(use_shared use.c)
target_link_libraries(use_shared tdpmmu::tdpmmu)
add_executable(use_static use.c)
target_link_libraries(use_static tdpmmu::static)
"""


class No(Exception):
    """Why a row is no Y."""


class NotHere(Exception):
    """What the machine lacks for looking."""


# ---- hands ---------------------------------------------------------------------

def run(*command, cwd=TOP, env=None, seconds=SECONDS, what=None):
    """Its output; a failure is the row's."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    clean.update(env or {})
    try:
        done = subprocess.run(command, cwd=cwd, env=clean, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors="replace", timeout=seconds)
    except FileNotFoundError:
        raise NotHere("there is no '%s' here" % command[0])
    except subprocess.TimeoutExpired:
        raise No("%s did not end in %d s" % (what or " ".join(command[:3]), seconds))
    if done.returncode:
        raise No("%s: %s" % (what or " ".join(command[:4]), reason(done.stdout) or "exit status %d" % done.returncode))
    return done.stdout


def reason(output):
    """The line that says most; all of it is kept where it is more than that."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    # Make, and who called it, say only where it stopped.
    told = [line for line in lines if not re.match(r"make(\[\d+\])?: |dpkg-buildpackage: |CMake Error at ", line)] or lines
    errors = [line for line in told if re.search(r"\b[Ee]rror: |\bfatal: |FAILED|No such file|cannot ", line)]
    if len(told) < 2:
        return "".join(told)
    with open(LOG, "w") as file:
        file.write(output)
    return "%s  (%s)" % (errors[0] if errors else told[-1], os.path.relpath(LOG, TOP))


def make(*arguments, **more):
    return run("make", "--no-print-directory", *arguments, what="make " + " ".join(arguments), **more)


def tool(name, package):
    if not shutil.which(name):
        raise NotHere("there is no %s (Debian: %s)" % (name, package))


def need(condition, why):
    if not condition:
        raise No(why)


def present(*paths):
    missing = [path for path in paths if not os.path.exists(os.path.join(TOP, path))]
    need(not missing, "there is no " + ", ".join(missing))


def read(path):
    present(path)
    with open(os.path.join(TOP, path), errors="replace") as file:
        return file.read()


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def version():
    return ".".join(re.findall(r"define TDPMMU_VERSION_(?:MAJOR|MINOR|PATCH)\s+(\d+)", read("include/tdpmmu/types.h")))


def real_name():
    return SONAME + "." + version().split(".", 1)[1]


@functools.lru_cache(None)
def workshop():
    """A folder of this run's own, with use.c in it."""
    folder = tempfile.mkdtemp(prefix="check-package-")
    os.chmod(folder, 0o755)
    with open(os.path.join(folder, "use.c"), "w") as file:
        file.write(EXAMPLE)
    return folder


def place(name):
    path = os.path.join(workshop(), name)
    os.makedirs(path, exist_ok=True)
    return path


@functools.lru_cache(None)
def installed():
    """A root into which everything was installed, with /usr as its prefix."""
    root = place("root")
    # What the package has beside library and tool, made as its makers would.
    for target in ("man", "docs", "tool-pages"):
        if has_target(target):
            make(target)
    make("install", "DESTDIR=" + root, "PREFIX=/usr")
    return root


def usr(*path):
    return os.path.join(installed(), "usr", *path)


def pkg_config(*arguments):
    tool("pkg-config", "pkg-config")
    text = run("pkg-config", *arguments, "tdpmmu", env={
        "PKG_CONFIG_LIBDIR": usr("lib", "pkgconfig"), "PKG_CONFIG_SYSROOT_DIR": installed(),
        "PKG_CONFIG_ALLOW_SYSTEM_CFLAGS": "1", "PKG_CONFIG_ALLOW_SYSTEM_LIBS": "1"})
    return text.replace('"', "").split()


def compiler():
    return os.environ.get("CC", "cc").split()


def program(name, *flags):
    """use.c, built and run: what it says has to be the version."""
    out = os.path.join(workshop(), name)
    run(*compiler(), "-Wall", "-Werror", os.path.join(workshop(), "use.c"), "-o", out, *flags, what="cc for " + name)
    said = run(out, env={"LD_LIBRARY_PATH": usr("lib")}).strip()
    need(said == version(), "%s says '%s', not %s" % (name, said, version()))
    return out


def dynamic(path, tag):
    return re.findall(r"\(%s\).*\[(.*)\]" % tag, run("readelf", "-dW", path))


# ---- rows ------------------------------------------------------------------------

def soname():
    need(dynamic(usr("lib", real_name()), "SONAME") == [SONAME], "the soname of %s is not %s" % (real_name(), SONAME))
    for folder in (usr("lib"), os.path.join(TOP, "build")):
        for link, target in ((SONAME, real_name()), ("libtdpmmu.so", SONAME)):
            path = os.path.join(folder, link)
            need(os.path.islink(path) and os.readlink(path) == target, "%s does not lead to %s" % (path, target))
    return "%s, %s -> %s, libtdpmmu.so -> %s; built and installed" % (real_name(), SONAME, real_name(), SONAME)


def map_checked():
    return run("python3", "scripts/symbols.py", "check", "tdpmmu.map", "build/" + SONAME).strip()


def pc():
    text = open(usr("lib", "pkgconfig", "tdpmmu.pc")).read()
    for line in (r"libdir=\$\{prefix\}/", r"includedir=\$\{prefix\}/", r"URL: \S", r"License: GPL-2.0-only", r"Version: %s$" % version(),
                 r"(Requires|Libs)\.private:"):
        need(re.search("^" + line, text, re.M), "tdpmmu.pc has no line '%s'" % line)
    elsewhere = " ".join(pkg_config("--define-variable=prefix=/else", "--cflags"))
    need("/else/include" in elsewhere, "another prefix gives '%s'" % elsewhere)
    program("by_pkg_config", *pkg_config("--cflags", "--libs"))
    return "by its flags a program is built and runs; another prefix moves it; URL, License, version %s" % version()


def static():
    library = usr("lib", "libtdpmmu.a")
    need(os.path.exists(library), "there is no libtdpmmu.a")
    include = "-I" + usr("include")
    partly = program("partly_static", include, library, "-lpthread")
    need(not [n for n in dynamic(partly, "NEEDED") if "tdpmmu" in n or "swift" in n], "it still wants a shared library of ours")
    fully = program("fully_static", "-static", *pkg_config("--cflags", "--libs", "--static"))
    need(not dynamic(fully, "NEEDED"), "-static left shared libraries")
    defined = run("nm", "-g", "--defined-only", library)
    strangers = set(re.findall(r" [A-Za-z] (\S+)$", defined, re.M)) - symbols.declared()
    need(not strangers, "it defines %s, which the headers do not declare" % ", ".join(sorted(strangers)[:3]))
    return "libtdpmmu.a in a program beside libc, and in one by cc -static; its global names are the headers' %d" % len(symbols.declared())


def staged_install():
    root = place("another root")
    own = os.path.join(root, "opt", "my tdp", "include")
    os.makedirs(own)
    with open(os.path.join(own, "mine.h"), "w") as file:
        file.write("/* mine */\n")
    where = ["DESTDIR=" + root, "PREFIX=/opt/my tdp"]
    make("install", *where)
    files = [os.path.join(folder, name) for folder, _, names in os.walk(root) for name in names]
    outside = [path for path in files if not path.startswith(os.path.join(root, "opt/my tdp/"))]
    need(not outside, "%s is outside of PREFIX" % (outside or [""])[0])
    make("uninstall", *where)
    left = [os.path.join(folder, name) for folder, _, names in os.walk(root) for name in names]
    need(left == [os.path.join(own, "mine.h")], "after uninstall there is: %s" % ", ".join(left[:3]))
    return "%d files into a DESTDIR, below a PREFIX with a blank; make uninstall leaves what was there before" % (len(files) - 1)


def man():
    names = symbols.declared() - symbols.VARIABLES
    pages = {os.path.basename(path).split(".")[0] for path in glob.glob(usr("share/man/man3/*"))}
    need(pages, "no man page is installed in section 3")
    need(names <= pages, "no page for " + ", ".join(sorted(names - pages)[:3]))
    overviews = glob.glob(usr("share/man/man7/*"))
    need(overviews, "no overview is installed in section 7")
    need(glob.glob(usr("share/man/man1/tdpmmuctl.1*")), "no page tdpmmuctl(1) is installed")
    tool("mandoc", "mandoc")
    whole = []
    for path in sorted(glob.glob(usr("share/man/man*/*"))):
        with open(path) as file:
            leads = re.match(r"\.so (\S+)$", file.readline().rstrip())
        if leads:  # one of several names of a page
            need(os.path.exists(usr("share/man", leads.group(1))), "%s leads to %s, which is not there" % (path, leads.group(1)))
        else:
            whole.append(path)
    run("mandoc", "-Tlint", "-Wwarning", *whole, what="mandoc -Tlint")
    return "%d pages in section 3 for %d functions, %d in 7, tdpmmuctl(1); mandoc -Tlint is silent" % (
        len(pages), len(names), len(overviews))


def reference():
    make("docs")
    pages = glob.glob(os.path.join(TOP, "build/html/**/*.html"), recursive=True)
    present("build/html/index.html", "docs/TUTORIAL.md")
    text = "".join(read(os.path.relpath(page, TOP)) for page in pages)
    missing = [name for name in symbols.declared() - symbols.VARIABLES if 'id="%s"' % name not in text]
    need(not missing, "build/html has no anchor for " + ", ".join(sorted(missing)[:3]))
    outside = re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="(https?://[^"]*)"', text)
    need(not outside, "a page fetches " + (outside or [""])[0])
    return "%d HTML pages with each function's anchor, an index, the guides; nothing is fetched" % len(pages)


def examples():
    sources = sorted(glob.glob(os.path.join(TOP, "examples/*.c")))
    need(len(sources) >= 5, "examples/ has %d programs" % len(sources))
    flags = pkg_config("--cflags", "--libs")
    for source in sources:
        run(*compiler(), "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", source, "-o", os.path.join(workshop(), "example"), *flags,
            "-lpthread", what="cc " + os.path.relpath(source, TOP))
    told = run("python3", "scripts/doc_examples.py") if os.path.exists(os.path.join(TOP, "scripts/doc_examples.py")) else make("check-readme")
    shipped = glob.glob(usr("share/doc/**/examples/*.c"), recursive=True)
    need(len(shipped) == len(sources), "%d of %d are installed" % (len(shipped), len(sources)))
    return "%d programs compile against what is installed, and are installed; %s" % (len(sources), told.strip().splitlines()[-1])


def cmake():
    tool("cmake", "cmake")
    folder = place("cmake")
    shutil.copy(os.path.join(workshop(), "use.c"), folder)
    with open(os.path.join(folder, "CMakeLists.txt"), "w") as file:
        file.write(CMAKE % version())
    run("cmake", "-S", folder, "-B", folder + "/build", "-DCMAKE_PREFIX_PATH=" + usr())
    run("cmake", "--build", folder + "/build")
    for name in ("use_shared", "use_static"):
        said = run(os.path.join(folder, "build", name)).strip()
        need(said == version(), "%s says '%s'" % (name, said))
    need(not [n for n in dynamic(folder + "/build/use_static", "NEEDED") if "tdpmmu" in n], "tdpmmu::static is the shared library")
    return "find_package(tdpmmu %s), tdpmmu::tdpmmu and tdpmmu::static are built and run" % version()


def source_tree(name):
    """What git knows, as from a tarball, in a folder of its own."""
    folder = place(name)
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=TOP, capture_output=True, check=True).stdout.split(b"\0")
    for path in (one.decode() for one in listed if one):
        if os.path.lexists(os.path.join(TOP, path)):
            os.makedirs(os.path.dirname(os.path.join(folder, path)), exist_ok=True)
            shutil.copy2(os.path.join(TOP, path), os.path.join(folder, path), follow_symlinks=False)
    return folder


def deb_and_rpm():
    present("debian/control", "debian/rules", "debian/changelog", "tdpmmu.spec")
    tool("dpkg-buildpackage", "dpkg-dev")
    tool("lintian", "lintian")
    tool("rpmbuild", "rpm")
    folder = source_tree("deb/libtdpmmu")
    run("dpkg-buildpackage", "-us", "-uc", "-b", cwd=folder)
    packages = sorted(glob.glob(os.path.join(workshop(), "deb", "*.deb")))
    need(len(packages) >= 3, "dpkg-buildpackage made %d packages" % len(packages))
    inside = "".join(run("dpkg-deb", "-c", path) for path in packages)
    for what in ("usr/share/man/man3/", "usr/share/man/man1/", "libtdpmmu.a", "tdpmmu.pc", "tdpmmu-config.cmake", "bash-completion/"):
        need(what in inside, "no .deb has %s: debian/rules neither makes nor installs it" % what)
    told = run("lintian", "--fail-on", "error", *glob.glob(os.path.join(workshop(), "deb", "*.changes")))
    top = place("rpm/SOURCES")
    tarball = os.path.join(top, "libtdpmmu-%s.tar.gz" % version())
    run("tar", "-czf", tarball, "--transform", "s,^libtdpmmu,libtdpmmu-%s," % version(), "-C", os.path.dirname(source_tree("spec/libtdpmmu")),
        "libtdpmmu")
    # Debian's rpm knows no packages of the distribution: what is there is seen by the build.
    run("rpmbuild", "-bb", "--nodeps", "--define", "_topdir " + os.path.dirname(top), "tdpmmu.spec")
    rpms = glob.glob(os.path.join(workshop(), "rpm/RPMS/*/*.rpm"))
    need(len(rpms) >= 2, "rpmbuild made %d packages" % len(rpms))
    inside = "".join(run("rpm", "-qlp", path) for path in rpms)
    need("/man3/" in inside and "/man1/" in inside, "no .rpm has man pages: tdpmmu.spec neither makes nor installs them")
    return "%d .deb by dpkg-buildpackage, lintian has %d warnings and no error; %d .rpm by rpmbuild" % (
        len(packages), len(re.findall("^W:", told, re.M)), len(rpms))


def changelog():
    text = read("CHANGELOG.md")
    need("keepachangelog.com" in text and "semver.org" in text, "CHANGELOG.md names neither Keep a Changelog nor Semantic Versioning")
    heads = re.findall(r"^## \[([^\]]+)\](?: - (\d{4}-\d\d-\d\d))?$", text, re.M)
    need(heads and heads[0][0] == "Unreleased", "its first section is not [Unreleased]")
    released = [name for name, _ in heads[1:]]
    need(all(date for _, date in heads[1:]), "a release has no date")
    tags = re.findall(r"^v(\d+\.\d+\.\d+)$", run("git", "tag"), re.M) if os.path.exists(os.path.join(TOP, ".git")) else []
    need(set(tags) <= set(released), "no section for %s" % ", ".join(set(tags) - set(released)))
    kinds = re.findall(r"^### (.*)$", text, re.M)
    strange = set(kinds) - {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    need(not strange, "unknown kind of change: %s" % ", ".join(strange))
    entries = len(re.findall(r"^- ", text, re.M))
    return "[Unreleased] and %d releases, %d entries; each tag has its section" % (len(released), entries)


def contributing():
    text, security = read("CONTRIBUTING.md"), read("SECURITY.md")
    for head in ("## Versions", "## The soname", "## A release"):
        need(head in text, "CONTRIBUTING.md has no '%s'" % head)
    need("## Reporting" in security and "days" in security, "SECURITY.md does not say where to report and how soon one is answered")
    targets = set(re.findall(r"`make ([a-z-]+)", text))
    unknown = sorted(target for target in targets if not has_target(target))
    need(not unknown, "CONTRIBUTING.md names `make %s`, which is not there" % ", ".join(unknown))
    return "versions, soname policy, releases; where to report; the %d targets they name are there" % len(targets)


def abi():
    tool("abidiff", "abigail-tools")
    told = run("python3", "scripts/abi.py", "check", "build/" + SONAME).strip().splitlines()[-1]
    return "abi/libtdpmmu-1.abi by libabigail, compared with headers and library: " + told


def has_target(name):
    return bool(re.search(r"^(?:[^\s#:=]+ )*%s(?: [^\s#:=]+)*\s*:(?!=)" % re.escape(name), read("Makefile"), re.M))


def yaml(path):
    """By whichever python here can read it."""
    for python in (sys.executable, "/usr/bin/python3"):
        if os.path.exists(python) and subprocess.run([python, "-c", "import yaml"], capture_output=True).returncode == 0:
            return json.loads(run(python, "-c", "import json, sys, yaml; json.dump(yaml.safe_load(open(sys.argv[1])), sys.stdout)", path,
                                  what="reading " + os.path.relpath(path, TOP)))
    raise NotHere("no python3 here has yaml (Debian: python3-yaml)")


def expanded(job):
    """The commands of a workflow's job, its matrix filled in."""
    matrix = job.get("strategy", {}).get("matrix", {})
    cases = list(matrix.get("include", [])) or [{}]
    for name, values in matrix.items():
        if name != "include":
            cases = [dict(case, **{name: value}) for case in cases for value in values]
    for case in cases:
        for step in job["steps"]:
            if "run" in step:
                yield re.sub(r"\$\{\{ *matrix\.(\w+) *\}\}", lambda word: str(case[word.group(1)]), step["run"])


def ci():
    commands, images = [], set()
    workflows = sorted(glob.glob(os.path.join(TOP, ".github/workflows/*.yml")))
    need(workflows, "there is no .github/workflows/*.yml")
    for path in workflows:
        jobs = yaml(path)["jobs"]
        for job in jobs.values():
            commands += expanded(job)
            images |= {case.get("image") for case in job.get("strategy", {}).get("matrix", {}).get("include", [])}
    for command in commands:
        run("sh", "-n", "-c", command, what="sh -n: " + command)
    targets = {word for command in commands for line in re.findall(r"(?:^|&& *|; *)make ((?:[a-z-]+ ?)+)", command, re.M)
               for word in line.split()}
    unknown = sorted(word for word in targets if not has_target(word))
    need(not unknown, "a workflow calls `make %s`, which is not there" % ", ".join(unknown))
    for image in ("debian:12", "debian:13", "ubuntu:24.04", "fedora:"):
        need(any(str(one).startswith(image) for one in images), "no job runs in %s" % image)
    for target in ("check", "check-tsan", "check-asan", "check-abi", "docs"):
        need(target in targets, "no job runs make " + target)
    need("YES=1" in read(".ci/run"), ".ci/run does not say YES=1")
    return "%d workflows, %d commands that sh can read, their %d targets are make's; %s" % (
        len(workflows), len(commands), len(targets), ", ".join(sorted(filter(None, images))))


def fuzzing():
    for target in ("fuzz", "fuzz-clang", "fuzz-lib"):
        need(has_target(target), "there is no make " + target)
    files = glob.glob(os.path.join(TOP, "**/project.yaml"), recursive=True) + glob.glob(os.path.join(TOP, ".clusterfuzzlite/project.yaml"))
    need(files, "there is no project.yaml for OSS-Fuzz or ClusterFuzzLite")
    for path in files:
        for name in ("Dockerfile", "build.sh"):
            need(os.path.exists(os.path.join(os.path.dirname(path), name)), "no %s beside %s" % (name, os.path.relpath(path, TOP)))
        run("bash", "-n", os.path.join(os.path.dirname(path), "build.sh"))
    make("fuzz-lib", "fuzz-targets")
    present("build/libtdpmmu-fuzz.a")
    words = glob.glob(os.path.join(TOP, "build/fuzz/seeds/*.dict"))
    seeds = [folder for folder in glob.glob(os.path.join(TOP, "build/fuzz/seeds/*/")) if os.listdir(folder)]
    need(words and len(seeds) >= 4, "of the four targets %d have seeds, and there are %d dictionaries" % (len(seeds), len(words)))
    target = os.path.join(workshop(), "target")
    with open(target + ".c", "w") as file:
        file.write("#include <tdpmmu.h>\nint LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)\n{\n"
                   "    struct kvm *kvm = tdpmmu_create_vm(NULL);\n    if (size && data[0] & 1)\n        synchronize_rcu();\n"
                   "    tdpmmu_destroy_vm(kvm);\n    return 0;\n}\n")
    clang = os.path.join(run("sh", "scripts/toolchain.sh").strip(), "bin", "clang")
    run(clang, "-fsanitize=fuzzer", "-Iinclude", target + ".c", "build/libtdpmmu-fuzz.a", "-lpthread", "-o", target, what="a target of a user's")
    told = run(target, "-runs=2000", "-print_final_stats=1", what="a target of a user's, run")
    cover = max([int(number) for number in re.findall(r"cov: (\d+)", told)] + [0])
    need(cover > 100, "libFuzzer sees %d edges of the library" % cover)
    return "a user's own target by libtdpmmu-fuzz.a: libFuzzer sees %d edges; %d targets with seeds, %d dictionaries; %s, Dockerfile, build.sh" % (
        cover, len(seeds), len(words), ", ".join(os.path.relpath(path, TOP) for path in files))


def sbom():
    out = os.path.join(workshop(), "sbom.json")
    run("python3", "scripts/sbom.py", out)
    with open(out) as file:
        document = json.load(file)
    need(document["spdxVersion"] == "SPDX-2.3", "it is no SPDX 2.3")
    library = document["files"][0]
    need({"algorithm": "SHA256", "checksumValue": sha256(os.path.join(TOP, "build", SONAME))} in library["checksums"],
         "its first file is not build/" + SONAME)
    names = {package["SPDXID"]: package for package in document["packages"]}
    told = " ".join(package.get("comment", "") for package in names.values())
    wanted = dynamic(os.path.join(TOP, "build", SONAME), "NEEDED") + dynamic(os.path.join(TOP, "build/tdpmmuctl"), "NEEDED")
    missing = [name for name in wanted if name not in told and "tdpmmu" not in name]
    need(not missing, "it does not tell of " + ", ".join(missing))
    dangling = [one for one in document["relationships"] for end in (one["spdxElementId"], one["relatedSpdxElement"])
                if end not in names and end not in {f["SPDXID"] for f in document["files"]} | {"SPDXRef-DOCUMENT"}]
    need(not dangling, "a relation leads nowhere: %s" % dangling[:1])
    return "SPDX 2.3: %d packages, each with a licence; checksums are those of build/" % len(names)


def same_files(other, what):
    for name in (real_name(), "libtdpmmu.a"):
        ours, theirs = os.path.join(TOP, "build", name), os.path.join(other, name)
        need(os.path.exists(theirs), "%s made no %s" % (what, name))
        need(sha256(ours) == sha256(theirs), "%s of %s is another than build/%s" % (name, what, name))


@functools.lru_cache(None)
def tarball_tree():
    """make dist's tarball, unpacked: (folder, size).  What git has committed has to be what lies here."""
    make("dist")
    tarball = os.path.join(TOP, "build", "libtdpmmu-%s.tar.gz" % version())
    folder = place("tarball")
    run("tar", "-xzf", tarball, "-C", folder)
    inside = os.listdir(folder)
    need(inside == ["libtdpmmu-" + version()], "the tarball holds %s" % ", ".join(inside))
    return os.path.join(folder, inside[0]), os.path.getsize(tarball)


@functools.lru_cache(None)
def tarball_build():
    """The library out of it: no git, no HOME, -j, no network where that can be had.  How it was built."""
    folder, size = tarball_tree()
    offline = subprocess.run(["unshare", "-n", "true"], capture_output=True).returncode == 0
    command = (["unshare", "-n"] if offline else []) + ["env", "-u", "HOME", "make", "-j4", "lib"]
    run(*command, cwd=folder, what=" ".join(command))
    return folder, size, offline


def tarball():
    folder, size, _ = tarball_build()
    need(not os.path.exists(os.path.join(folder, ".git")), "it has .git")
    make("-j4", "check-symbols", cwd=folder)
    return "make dist: %d kB; unpacked without git, by a user without HOME, make -j4 lib and check-symbols" % (size // 1024)


def offline():
    _, _, offline_build = tarball_build()
    if not offline_build:
        raise NotHere("a namespace without a network is refused here (unshare -n)")
    pins = re.findall(r"\.package\(url: [^)]*", read("Package.swift"))
    need(pins and all("exact:" in pin for pin in pins), "a dependency is not pinned to one version: %s" % (pins or ["none found"])[0])
    return "make lib in a namespace without a network; the tool's %d dependency is pinned" % len(pins)


def reproducible():
    folder, _, _ = tarball_build()
    dirty = run("git", "status", "--porcelain", "--", "Sources", "include", "scripts", "Makefile", "Package.swift", "tdpmmu.map").strip()
    need(not dirty, "the tree has changes that git does not know, so the tarball is another: %s" % dirty.splitlines()[0] if dirty else "")
    same_files(os.path.join(folder, "build"), "the tarball's build")
    return "%s and libtdpmmu.a of the tarball's build in another folder: sha256 %s..., %s..." % (
        real_name(), sha256(os.path.join(TOP, "build", real_name()))[:12], sha256(os.path.join(TOP, "build", "libtdpmmu.a"))[:12])


def out_of_tree():
    out = place("elsewhere")
    tree = source_tree("read only")
    run("chmod", "-R", "a-w,a+rX", tree)
    as_nobody = []
    if os.getuid() == 0:
        os.chown(out, NOBODY, NOBODY)
        as_nobody = ["setpriv", "--reuid=%d" % NOBODY, "--regid=%d" % NOBODY, "--clear-groups"]
    try:
        run(*as_nobody, "env", "-u", "HOME", "make", "lib", "O=" + out, cwd=tree, what="make lib O=DIR")
    finally:
        run("chmod", "-R", "u+w", tree)
    same_files(out, "O=DIR")
    return "make lib O=DIR by a user without rights, the sources read-only: the same bytes as in build/"


def headers():
    return "gcc and clang, C11 to C23, C++17 and C++20, -Wall -Wextra -Wpedantic -Werror: " + \
        make("check-headers", seconds=900).strip().splitlines()[-1]


def without_root():
    """C tests as a user who may write nowhere but into a folder of their own."""
    names = ["test_map", "test_zap", "test_rcu_names", "test_fork", "test_dirty_log", "test_notifier"]
    run("python3", "scripts/ctests.py", "plain", *(word for name in names for word in ("--only", name)), what="C tests")
    if os.getuid() != 0:
        return "this is not root: %s passed" % ", ".join(names)
    tests = place("tests")
    os.makedirs(os.path.join(tests, "tests"))
    for name in (SONAME, real_name()):
        shutil.copy(os.path.join(TOP, "build", name), tests)
    for name in names:
        shutil.copy(os.path.join(TOP, "build/tests-plain", name), os.path.join(tests, "tests"))
    os.chown(tests, NOBODY, NOBODY)
    for name in names:
        run("setpriv", "--reuid=%d" % NOBODY, "--regid=%d" % NOBODY, "--clear-groups", "--bounding-set=-all", "--no-new-privs",
            os.path.join(tests, "tests", name), cwd=tests, env={"LD_LIBRARY_PATH": tests, "TDPMMU_TEST_MODE": "plain"}, seconds=300,
            what=name + " without rights")
    return "%s by user %d without capabilities" % (", ".join(names), NOBODY)


ROWS = [
    ("soname and links", soname), ("map checked", map_checked), (".pc", pc), ("static", static),
    ("PREFIX/DESTDIR/uninstall", staged_install), ("man", man), ("reference", reference), ("examples", examples),
    ("CMake", cmake), ("deb/rpm", deb_and_rpm), ("CHANGELOG", changelog), ("CONTRIBUTING/SECURITY", contributing),
    ("ABI tracked", abi), ("CI", ci), ("fuzz/OSS-Fuzz", fuzzing), ("SBOM", sbom), ("reproducible", reproducible),
    ("tarball and -j", tarball), ("offline", offline), ("out of tree", out_of_tree), ("warning-free headers", headers),
    ("tests without root", without_root),
]


def chosen(words):
    rows = [row for row in ROWS if not words or any(row[0].lower().startswith(word.lower()) for word in words)]
    for word in words:
        if not any(name.lower().startswith(word.lower()) for name, _ in ROWS):
            sys.exit("check-package: no row begins with '%s'; there are: %s" % (word, ", ".join(name for name, _ in ROWS)))
    return rows


def main():
    words = [word.strip() for argument in sys.argv[1:] for word in argument.split(",") if word.strip()]
    failed, rows = 0, chosen(words)
    try:
        for name, look in rows:
            try:
                answer, how = "Y", look()
            except NotHere as lack:
                answer, how = "N", "%s, so this was not looked at" % lack
            except (No, OSError, subprocess.SubprocessError) as why:
                answer, how = "N", str(why)
            failed += answer == "N"
            print("%s %s: %s" % (answer, name, how), flush=True)
    finally:
        shutil.rmtree(workshop(), ignore_errors=True)
    print("package: %d passed, %d failed" % (len(rows) - failed, failed))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
