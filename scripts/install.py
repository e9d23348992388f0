#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""make install, make uninstall, and the run path that the tool is linked with.

install.py install lib|tool ...      all or nothing: what was put is taken back if a file cannot be
install.py uninstall lib|tool ...
install.py hint                      what a user still has to do after an install
install.py run-path                  by which a tool in BINDIR finds the library in LIBDIR; "none": needs none

Where to comes from the environment: DESTDIR, PREFIX, LIBDIR, INCLUDEDIR, BINDIR, DATADIR, MANDIR, PKGCONFIGDIR,
CMAKEDIR, DOCDIR, and BUILD, where it was built; any path will do.  URL is told to those who ask pkg-config."""
import glob
import os
import re
import subprocess
import sys

SONAME = "libtdpmmu.so.1"
LOADER = "/lib64/ld-linux-x86-64.so.2"


def stop(text):
    sys.exit("install: " + text)


# ---- where ------------------------------------------------------------------

def folder(name):
    """As it will be, without DESTDIR."""
    path = os.environ.get(name, "")
    if not path.startswith("/"):
        stop("%s has to be a whole path that begins with /, not '%s'" % (name, path))
    if "\n" in path:
        stop("%s has an end of line in it" % name)
    if '"' in path:
        stop('%s has a " in it, which the files for pkg-config and CMake cannot name' % name)
    # Two slashes at the beginning are one here.
    return os.path.normpath("/" + path.lstrip("/"))


def destdir():
    path = os.environ.get("DESTDIR", "")
    if path.startswith("~"):
        stop("DESTDIR: nobody reads the ~ of '%s'; write the whole path" % path)
    return path


def staged(path):
    """Where it is put now."""
    return os.path.join(os.path.abspath(destdir()), path.lstrip("/")) if destdir() else path


def built(name):
    return os.path.join(os.environ["BUILD"], name)


def version():
    with open("include/tdpmmu/types.h") as header:
        return re.findall(r"define TDPMMU_VERSION_(?:MAJOR|MINOR|PATCH)\s+(\d+)", header.read())


def real_name():
    return SONAME + "." + ".".join(version()[1:])


# ---- how the library is found -------------------------------------------------

def system_folders():
    """Where this machine's loader looks when nobody tells it."""
    try:
        text = subprocess.run([LOADER, "--help"], capture_output=True, text=True, env={}).stdout
    except OSError:
        text = ""
    return re.findall(r"^  (/.*) \(system search path\)$", text, re.M)


def listed_folders(path="/etc/ld.so.conf"):
    """Where it looks because the machine's owner says so, once ldconfig has."""
    try:
        with open(path, errors="replace") as file:
            lines = [line.split("#")[0].strip() for line in file]
    except OSError:
        return []
    found = []
    for line in lines:
        if line.startswith("include "):
            for other in sorted(glob.glob(os.path.join(os.path.dirname(path), line.split(None, 1)[1]))):
                found += listed_folders(other)
        elif line.startswith("/"):
            found.append(line)
    return found


def among(path, folders):
    return os.path.realpath(path) in [os.path.realpath(each) for each in folders]


def run_path():
    here, there = folder("BINDIR"), folder("LIBDIR")
    if among(there, system_folders()):
        return "none"
    if not destdir():
        # $ORIGIN is where the links lead.
        here, there = os.path.realpath(here), os.path.realpath(there)
    path = os.path.relpath(there, here)
    if ":" in path or "$" in path:
        stop("no run path can lead to %s: it has a ':' or a '$'" % there)
    return os.path.join("$ORIGIN", path)


def hint():
    """What a user still has to do so that programs find the library."""
    libdir = folder("LIBDIR")
    if destdir():
        return None
    if among(libdir, system_folders() + listed_folders()):
        return "programs find %s in %s once the loader's cache knows it: run ldconfig, as root" % (SONAME, libdir)
    return ("the loader does not look into %s: link programs with -Wl,-rpath,%s, or set LD_LIBRARY_PATH" % (libdir, libdir))


# ---- what -------------------------------------------------------------------

def read(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        stop("there is no %s: make builds it" % path)


def filled(template, **words):
    with open(template) as file:
        text = file.read()
    for name, value in words.items():
        text = text.replace("@%s@" % name, value)
    return text.encode()


def pkgconfig():
    prefix = folder("PREFIX")

    def word(path):
        """By the prefix where it is below that, so that pkg-config can be told another; a '#' would begin a comment."""
        inside = prefix != "/" and path.startswith(prefix + "/")
        return ("${prefix}" if inside else "") + re.sub(r"([#\\])", r"\\\1", path[len(prefix):] if inside else path)

    url = os.environ.get("URL") or "file://" + word(os.path.join(folder("DOCDIR"), "README.md"))
    return filled("tdpmmu.pc.in", PREFIX=re.sub(r"([#\\])", r"\\\1", prefix), LIBDIR=word(folder("LIBDIR")),
                  INCLUDEDIR=word(folder("INCLUDEDIR")), VERSION=".".join(version()), URL=url)


def cmake_config():
    def way(name):
        return os.path.relpath(folder(name), folder("CMAKEDIR"))
    return filled("cmake/tdpmmu-config.cmake.in", LIBDIR=way("LIBDIR"), INCLUDEDIR=way("INCLUDEDIR"), SONAME=SONAME,
                  REAL_NAME=real_name())


def cmake_version():
    return filled("cmake/tdpmmu-config-version.cmake.in", VERSION=".".join(version()), MAJOR=version()[0])


def module_map():
    # The tree's names no library to link: the library itself is built by it.
    with open("include/module.modulemap") as file:
        return file.read().replace('header "tdpmmu.h"', 'header "../tdpmmu.h"\n    link "tdpmmu"').encode()


def copies(pattern, place, mode=0o644):
    """Files of the tree or of the build, by a pattern; what another target makes may not be there."""
    top = os.path.dirname(re.sub(r"\*\*?.*", "", pattern))
    for path in sorted(glob.glob(pattern, recursive=True)):
        if os.path.isfile(path):
            yield os.path.join(place, os.path.relpath(path, top)), mode, lambda path=path: read(path)


GUIDES = [("*.md", ""), ("LICENSE", ""), ("docs/*.md", "docs"), ("examples/*", "examples")]


def guides():
    """README.md and what it leads to, as far as that is installed: other links are their texts alone."""
    docs = folder("DOCDIR")
    found = [entry for pattern, place in GUIDES for entry in copies(pattern, os.path.join(docs, place))]
    there = {os.path.relpath(path, docs) for path, _, _ in found}
    there |= {os.path.dirname(path) or "." for path in there}
    for path, mode, content in found:
        name = os.path.relpath(path, docs)
        yield path, mode, (lambda name=name: with_links_to(there, name)) if name.endswith(".md") else content


def with_links_to(there, name):
    def link(match):
        target = os.path.normpath(os.path.join(os.path.dirname(name), match[2].partition("#")[0] or os.path.basename(name)))
        return match[0] if ":" in match[2] or target in there else match[1]
    pieces = re.split(r"(^```.*?^```)", read(name).decode(), flags=re.M | re.S)
    return "".join(piece if at % 2 else re.sub(r"\[([^][]+)\]\(([^()\s]+)\)", link, piece) for at, piece in enumerate(pieces)).encode()


def library_files():
    """(path, mode, what makes the bytes) of each."""
    libdir, include = folder("LIBDIR"), folder("INCLUDEDIR")
    yield os.path.join(libdir, real_name()), 0o755, lambda: read(built(real_name()))
    yield os.path.join(libdir, "libtdpmmu.a"), 0o644, lambda: read(built("libtdpmmu.a"))
    yield os.path.join(folder("PKGCONFIGDIR"), "tdpmmu.pc"), 0o644, pkgconfig
    yield os.path.join(folder("CMAKEDIR"), "tdpmmu-config.cmake"), 0o644, cmake_config
    yield os.path.join(folder("CMAKEDIR"), "tdpmmu-config-version.cmake"), 0o644, cmake_version
    yield os.path.join(include, "tdpmmu", "module.modulemap"), 0o644, module_map
    yield from copies("include/*.h", include)
    yield from copies("include/tdpmmu/*.h", os.path.join(include, "tdpmmu"))
    for section in ["3", "7"]:
        yield from copies(built("man/man%s/*.%s" % (section, section)), os.path.join(folder("MANDIR"), "man" + section))
    yield from guides()
    yield from copies(built("html/**"), os.path.join(folder("DOCDIR"), "html"))
    # gdb looks for it by the name of the file that the links lead to.
    for path in glob.glob(built(real_name() + "-gdb.py")):
        place = folder("DATADIR") + "/gdb/auto-load" + libdir
        yield os.path.join(place, real_name() + "-gdb.py"), 0o644, lambda path=path: read(path)


def tool_files():
    yield os.path.join(folder("BINDIR"), "tdpmmuctl"), 0o755, lambda: read(built("installed/tdpmmuctl"))
    yield from copies(built("man/man1/*.1"), os.path.join(folder("MANDIR"), "man1"))
    for name, place in [("tdpmmuctl.bash", "bash-completion/completions/tdpmmuctl"),
                        ("_tdpmmuctl", "zsh/site-functions/_tdpmmuctl"),
                        ("tdpmmuctl.fish", "fish/vendor_completions.d/tdpmmuctl.fish")]:
        path = built("completions/" + name)
        if os.path.exists(path):
            yield os.path.join(folder("DATADIR"), place), 0o644, lambda path=path: read(path)


def links(parts):
    if "lib" in parts:
        yield os.path.join(folder("LIBDIR"), SONAME), real_name()
        yield os.path.join(folder("LIBDIR"), "libtdpmmu.so"), SONAME


def contents(parts):
    files = []
    for part in parts:
        files += list({"lib": library_files, "tool": tool_files}[part]())
    return files


# ---- doing it -----------------------------------------------------------------

class Placing:
    """Everything is written beside its place first; only then are the names given, so that a program that runs an
    old file keeps it, and a full disk or a folder that is refused leaves what was there."""

    def __init__(self):
        self.ready = []
        self.folders = []

    def make_folder(self, path):
        missing = []
        while not os.path.isdir(path):
            missing.append(path)
            path = os.path.dirname(path)
        for each in reversed(missing):
            os.mkdir(each)
            self.folders.append(each)
            os.chmod(each, 0o755)

    def beside(self, path):
        if os.path.isdir(path) and not os.path.islink(path):
            raise IsADirectoryError(21, "there is a folder of that name", path)
        self.make_folder(os.path.dirname(path))
        self.ready.append((path + ".new", path))
        if os.path.lexists(path + ".new"):
            os.unlink(path + ".new")
        return path + ".new"

    def file(self, path, mode, content):
        new = self.beside(path)
        with open(new, "wb") as file:
            file.write(content)
        os.chmod(new, mode)

    def link(self, path, target):
        os.symlink(target, self.beside(path))

    def finish(self):
        for new, path in self.ready:
            os.replace(new, path)

    def take_back(self):
        for new, _ in self.ready:
            if os.path.lexists(new):
                os.unlink(new)
        for path in reversed(self.folders):
            if not os.listdir(path):
                os.rmdir(path)


def manifest(part):
    """Where stands what was installed, so that a tree that is not built takes it back, too."""
    return os.path.join(folder("DOCDIR"), "installed-" + part)


def listed(part):
    """What the manifest names, without DESTDIR; None where there is no manifest."""
    try:
        with open(staged(manifest(part)), errors="surrogateescape") as file:
            lines = file.read().split("\n")
    except OSError:
        return None
    return [os.path.normpath("/" + line.lstrip("/")) for line in lines if line.startswith("/")]


def is_file(path):
    return os.path.islink(path) or os.path.lexists(path) and not os.path.isdir(path)


def manifest_of(part):
    """(path, mode, what makes the bytes).  What an earlier install has put, and this one does not, stays named."""
    def text():
        before = [path for path in listed(part) or [] if is_file(staged(path))]
        now = [path for path, _, _ in contents([part])] + [path for path, _ in links([part])] + [manifest(part)]
        return "".join(path + "\n" for path in sorted({*before, *now})).encode(errors="surrogateescape")
    return manifest(part), 0o644, text


def install(parts):
    wanted = contents(parts) + [manifest_of(part) for part in parts]
    files = [(staged(path), mode, make()) for path, mode, make in wanted]
    placing = Placing()
    try:
        for path, mode, content in files:
            placing.file(path, mode, content)
        for path, target in links(parts):
            placing.link(staged(path), target)
        placing.finish()
    except OSError as error:
        placing.take_back()
        advice = ": as root, or with PREFIX=DIR of yours" if isinstance(error, PermissionError) else ""
        where = error.filename or placing.ready[-1][1]
        stop("nothing was installed: %s: %s%s" % (where, error.strerror, advice))
    print("install: %d files below %s" % (len(placing.ready), staged(folder("PREFIX"))))
    if "lib" in parts and hint():
        print("install: " + hint())


def older_libraries():
    """Of each version of this soname: an update leaves the one before it."""
    return [path for path in glob.glob(glob.escape(staged(folder("LIBDIR"))) + "/%s.*" % SONAME)
            if re.fullmatch(re.escape(SONAME) + r"\.\d+\.\d+", os.path.basename(path))]


def own_pages():
    """Man pages of the library's that this build has not made: by the line that they begin with."""
    from man import MARK  # Reads much that the rest has no use for.

    def begins(path):
        try:
            with open(path, errors="replace") as file:
                return file.read(300)
        except OSError:
            return ""

    top = staged(folder("MANDIR"))
    for path in glob.glob(glob.escape(top) + "/man[37]/*.[37]"):
        text = begins(path)
        link = re.fullmatch(r"\.so (man3/[^/\n]+\.3)\n", text)
        if (begins(os.path.join(top, link[1])) if link else text).startswith(MARK):
            yield path


def uninstall(parts):
    """What was installed, by the manifest; where there is none, what this tree would install."""
    paths = []
    for part in parts:
        names = listed(part)
        if names is None:
            names = [path for path, _, _ in contents([part])] + [path for path, _ in links([part])]
        paths += [staged(path) for path in names + [manifest(part)]]
    own = [folder("DOCDIR")]
    if "lib" in parts:
        paths += older_libraries() + list(own_pages())
        own += [folder("INCLUDEDIR") + "/tdpmmu", folder("CMAKEDIR")]
    try:
        for path in paths:
            if is_file(path):
                os.unlink(path)
        for top in own:
            for path, _, _ in os.walk(staged(top), topdown=False):
                if not os.listdir(path):
                    os.rmdir(path)
    except OSError as error:
        stop("cannot take back %s: %s" % (error.filename, error.strerror))


def main():
    os.chdir(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    folder("PREFIX")  # What the others begin with is complained about first.
    what, parts = (sys.argv[1:2] or [""])[0], sys.argv[2:]
    if what in ("run-path", "hint") and not parts:
        print({"run-path": run_path, "hint": hint}[what]())
    elif what in ("install", "uninstall") and parts and set(parts) <= {"lib", "tool"}:
        {"install": install, "uninstall": uninstall}[what](parts)
    else:
        sys.exit(__doc__)


main()
