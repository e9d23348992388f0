#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""make install, make uninstall: install.py install|uninstall

Where to comes from the environment: DESTDIR, PREFIX, LIBDIR, INCLUDEDIR, BINDIR, PKGCONFIGDIR;
any path will do.  tdpmmuctl is given a run path that leads from its folder to the library's,
so that both can be moved together."""
import glob
import os
import re
import subprocess
import sys

SONAME = "libtdpmmu.so.1"


def folder(name):
    """As it will be, without DESTDIR."""
    return os.path.normpath(os.path.abspath(os.environ[name]))


def staged(path):
    """Where it is put now."""
    destdir = os.environ.get("DESTDIR", "")
    return os.path.join(os.path.abspath(destdir), path.lstrip("/")) if destdir else path


def version():
    with open("include/tdpmmu/types.h") as header:
        return ".".join(re.findall(r"define TDPMMU_VERSION_(?:MAJOR|MINOR|PATCH)\s+(\d+)", header.read()))


def headers():
    return sorted(glob.glob("include/*.h") + glob.glob("include/tdpmmu/*.h"))


def run_path():
    """What a tool in BINDIR finds the library by."""
    here, there = folder("BINDIR"), folder("LIBDIR")
    if not os.environ.get("DESTDIR"):
        # $ORIGIN is where the links lead.
        here, there = os.path.realpath(here), os.path.realpath(there)
    path = os.path.relpath(there, here)
    if ":" in path or "$" in path:
        sys.exit("install: no run path can lead to %s: it has a ':' or a '$'" % there)
    return os.path.join("$ORIGIN", path).encode()


def with_run_path(content, old, new):
    """The string is overwritten in place: Package.swift has left room in it."""
    if len(new) > len(old):
        sys.exit("install: the way from %s to %s is longer than %d bytes" % (folder("BINDIR"), folder("LIBDIR"), len(old)))
    if content.count(old + b"\0") != 1:
        sys.exit("install: cannot tell where tdpmmuctl's run path is")
    return content.replace(old + b"\0", new.ljust(len(old) + 1, b"\0"))


def tool():
    dynamic = subprocess.run(["readelf", "-dW", "build/tdpmmuctl"], check=True, capture_output=True, text=True).stdout
    found = re.search(r"\((?:RUNPATH|RPATH)\).*?\[(.*)\]", dynamic)
    if not found:
        sys.exit("install: build/tdpmmuctl has no run path")
    with open("build/tdpmmuctl", "rb") as file:
        return with_run_path(file.read(), found.group(1).encode(), run_path())


def pkgconfig():
    with open("tdpmmu.pc.in") as file:
        text = file.read()
    for name in ["PREFIX", "LIBDIR", "INCLUDEDIR"]:
        # A '#' would begin a comment there.
        text = text.replace("@%s@" % name, re.sub(r"([#\\])", r"\\\1", folder(name)))
    return text.replace("@VERSION@", version()).encode()


def module_map():
    # The tree's names no library to link: the library itself is built by it.
    with open("include/module.modulemap") as file:
        return file.read().replace('header "tdpmmu.h"', 'header "../tdpmmu.h"\n    link "tdpmmu"').encode()


def read(path):
    with open(path, "rb") as file:
        return file.read()


def contents():
    """(path, mode, what makes the bytes) of each file."""
    yield os.path.join(folder("LIBDIR"), SONAME), 0o755, lambda: read("build/" + SONAME)
    yield os.path.join(folder("BINDIR"), "tdpmmuctl"), 0o755, tool
    yield os.path.join(folder("PKGCONFIGDIR"), "tdpmmu.pc"), 0o644, pkgconfig
    yield os.path.join(folder("INCLUDEDIR"), "tdpmmu", "module.modulemap"), 0o644, module_map
    for header in headers():
        place = os.path.join(folder("INCLUDEDIR"), os.path.relpath(header, "include"))
        yield place, 0o644, lambda header=header: read(header)


def development_link():
    return staged(os.path.join(folder("LIBDIR"), "libtdpmmu.so"))


def put(path, mode, content):
    """Beside its place first: a program that runs the old one keeps it."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    new = path + ".new"
    with open(new, "wb") as file:
        file.write(content)
    os.chmod(new, mode)
    os.replace(new, path)


def install():
    for path, mode, make in list(contents()):
        put(staged(path), mode, make())
    link = development_link()
    if os.path.lexists(link):
        os.unlink(link)
    os.symlink(SONAME, link)


def uninstall():
    for path in [staged(path) for path, _, _ in contents()] + [development_link()]:
        if os.path.lexists(path):
            os.unlink(path)
    headers_folder = staged(os.path.join(folder("INCLUDEDIR"), "tdpmmu"))
    if os.path.isdir(headers_folder) and not os.listdir(headers_folder):
        os.rmdir(headers_folder)


os.chdir(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
if sys.argv[1:] not in (["install"], ["uninstall"]):
    sys.exit(__doc__)
if sys.argv[1] == "install":
    install()
else:
    uninstall()
