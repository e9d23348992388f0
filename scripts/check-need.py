#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""scripts/need.sh on made-up machines: folders of fake commands are all that PATH has.  What does it install, what
does it ask, what does it say, and how does it end?"""
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
NEED = os.path.join(TOP, "scripts", "need.sh")
REAL = ["sh", "sed", "head", "cat"]
THERE = "make git python3 nm g++ gcc pkg-config spin abidw valgrind cmake gdb mandoc".split()
SWIFT = "echo 'Swift version 6.3.1 (swift-6.3.1-RELEASE)'"
# Fails for a header that the machine has not got; `absent` is a file beside it.
CC = 'while read -r line; do case $line in "#include <"*) h=${line#*<}; h=${h%>};' \
     ' grep -qx "$h" "$0.absent" && exit 1;; esac; done; exit 0'
# Notes what it was asked to do.  An installation of what `refuses` names fails.
MANAGER = 'echo "${0##*/} $*" >> "$LOG"; for one; do grep -qx "$one" "$0.refuses" && exit 100; done; exit 0'


class Machine:
    """As folder/bin: all is there but the commands and headers named."""

    def __init__(self, folder, commands=(), headers=(), manager="apt-get", user=0, swift=SWIFT, refuses=(), sudo=True):
        self.bin, self.log = os.path.join(folder, "bin"), os.path.join(folder, "log")
        os.makedirs(self.bin)
        open(self.log, "w").close()
        for name in REAL + ["grep"]:
            os.symlink(shutil.which(name), os.path.join(self.bin, name))
        for name in set(THERE) - set(commands):
            self.fake(name, "exit 0")
        self.fake("cc", CC)
        self.put("cc.absent", headers)
        self.fake("id", "echo %d" % user)
        if swift:
            self.fake("swift", swift)
        if manager:
            self.fake(manager, MANAGER)
            self.put(manager + ".refuses", refuses)
        if user and sudo:
            self.fake("sudo", 'while [ "${1#-}" != "$1" ]; do shift; done; echo sudo >> "$LOG"; exec "$@"')

    def fake(self, name, body):
        path = os.path.join(self.bin, name)
        with open(path, "w") as file:
            file.write("#!/bin/sh\n%s\n" % body)
        os.chmod(path, 0o755)

    def put(self, name, lines):
        with open(os.path.join(self.bin, name), "w") as file:
            file.writelines(line + "\n" for line in lines)

    def environment(self, more):
        return {"PATH": self.bin, "LOG": self.log, "HOME": "/nowhere", **more}

    def run(self, kinds, **more):
        """(status, output, what was called)"""
        done = subprocess.run(["sh", NEED, *kinds.split()], env=self.environment(more), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return done.returncode, done.stdout, self.called()

    def run_at_terminal(self, kinds, answer, **more):
        ours, theirs = pty.openpty()
        process = subprocess.Popen(["sh", NEED, *kinds.split()], env=self.environment(more), stdin=theirs, stdout=theirs,
                                   stderr=theirs, start_new_session=True)
        os.close(theirs)
        os.write(ours, answer.encode() + b"\n")
        out = b""
        while select.select([ours], [], [], 60)[0]:
            try:
                piece = os.read(ours, 4096)
            except OSError:  # the other end is closed
                break
            if not piece:
                break
            out += piece
        os.close(ours)
        return process.wait(), out.decode().replace("\r", ""), self.called()

    def called(self):
        with open(self.log) as file:
            return file.read().splitlines()


APT = "apt-get install -y --no-install-recommends "
passed = failed = 0


def has_terminals():
    try:
        for end in pty.openpty():
            os.close(end)
        return True
    except OSError as error:
        print("need: what is asked at a terminal was not tried: " + (error.strerror or str(error)))
        return False


TERMINALS = has_terminals()


def case(what, machine, kinds, status, said, called, answer=None, lines=None, **more):
    """said: what the output must have; lines: how many it has."""
    global passed, failed
    if answer is not None and not TERMINALS:
        return
    with tempfile.TemporaryDirectory() as folder:
        there = Machine(folder, **machine)
        got = there.run(kinds, **more) if answer is None else there.run_at_terminal(kinds, answer, **more)
    wrong = []
    if got[0] != status:
        wrong.append("status %d, not %d" % (got[0], status))
    wrong += ["does not say '%s'" % one for one in said if one not in got[1]]
    if got[2] != called:
        wrong.append("called %s, not %s" % (got[2], called))
    if lines is not None and len(got[1].splitlines()) != lines:
        wrong.append("%d lines, not %d" % (len(got[1].splitlines()), lines))
    passed, failed = passed + (not wrong), failed + bool(wrong)
    if wrong:
        print("need: FAILED: %s: %s\n%s" % (what, "; ".join(wrong), got[1]), file=sys.stderr)


def readme_names_what_the_build_needs():
    """What zlib1g-dev depends on comes with it."""
    global passed, failed
    with open(NEED) as file:
        kinds = re.search(r"^need_lib\(\).*?^need_check\(\)", file.read(), re.M | re.S)[0]
    with open(os.path.join(TOP, "README.md")) as file:
        said = re.search(r"^On Debian or Ubuntu.*?:\n\n", file.read(), re.M | re.S)[0]
    wanted = set(re.findall(r"\bwant (\S+)", kinds)) - {"libc6-dev", "linux-libc-dev"}
    lacking = sorted(name for name in wanted if not re.search(r"(?<![\w-])%s(?![\w-])" % re.escape(name), said))
    passed, failed = passed + (bool(wanted) and not lacking), failed + (not wanted or bool(lacking))
    if lacking or not wanted:
        print("need: FAILED: README.md names not what make demo needs: " + ", ".join(lacking), file=sys.stderr)


def main():
    readme_names_what_the_build_needs()
    no_zlib = {"headers": ["zlib.h"]}
    no_cmocka = {"headers": ["cmocka.h"]}
    wishes = {"commands": ["spin"], "headers": ["urcu/rculfhash.h"]}
    case("all there", {}, "check", 0, [], [], lines=0)
    # The build installs nothing, whatever YES says.
    for yes in ({}, {"YES": "1"}):
        case("build without zlib", no_zlib, "build", 1, ["Missing here: zlib1g-dev", APT + "zlib1g-dev"], [], lines=1, **yes)
    case("the library without zlib and git", dict(no_zlib, commands=["git"]), "lib", 0, [], [], lines=0)
    case("the library without a compiler", {"commands": ["nm"]}, "lib", 1, [APT + "binutils"], [], lines=1, YES="1")
    case("build at a terminal", no_zlib, "build", 1, [APT + "zlib1g-dev"], [], answer="y")
    case("build by no root", dict(no_zlib, user=1000), "build", 1, ["sudo " + APT + "zlib1g-dev"], [], lines=1)
    case("build without a package manager", dict(no_zlib, manager=None), "build", 1, ["names that Debian gives them: zlib1g-dev"], [],
         lines=1)
    case("build with dnf", dict(no_zlib, manager="dnf"), "build", 1, ["dnf install -y", "zlib-devel"], [], lines=1)
    # The tests ask, or are told, or stop.
    case("check, nobody there", no_cmocka, "check", 1, [APT + "libcmocka-dev", "YES=1"], [], lines=1)
    case("check, YES=0", no_cmocka, "check", 1, ["YES=1"], [], answer="y", YES="0")
    case("check, YES=1", no_cmocka, "check", 0, ["Installing: " + APT + "libcmocka-dev"], [APT + "libcmocka-dev"], YES="1")
    case("check, YES=maybe", no_cmocka, "check", 1, ["YES='maybe' is neither"], [], lines=1, YES="maybe")
    case("all there, YES=maybe", {}, "check", 1, ["YES='maybe' is neither"], [], lines=1, YES="maybe")
    case("check, y", no_cmocka, "check", 0, ["The tests need: libcmocka-dev", "[y/N]"], [APT + "libcmocka-dev"], answer="y")
    case("check, yes", no_cmocka, "check", 0, ["[y/N]"], [APT + "libcmocka-dev"], answer="Yes")
    for answer in ("", "n", "maybe", "yn"):
        case("check, '%s'" % answer, no_cmocka, "check", 1, ["[y/N]", "YES=1"], [], answer=answer)
    case("check by no root, YES=1", dict(no_cmocka, user=1000), "check", 0, [], ["sudo", APT + "libcmocka-dev"], YES="1")
    case("check by no root, y", dict(no_cmocka, user=1000), "check", 0, ["sudo " + APT], ["sudo", APT + "libcmocka-dev"], answer="y")
    case("check by no root, no sudo", dict(no_cmocka, user=1000, sudo=False), "check", 1, [APT + "libcmocka-dev"], [], YES="1")
    case("check without a package manager", dict(no_cmocka, manager=None), "check", 1, ["Debian gives them: libcmocka-dev"], [],
         answer="y", YES="1")
    case("check with dnf", dict(no_cmocka, manager="dnf"), "check", 0, [],
         ["dnf install -y --setopt=install_weak_deps=False libcmocka-devel"], YES="1")
    # What cannot be installed: the lists are fetched and it is tried once more.
    case("an installation that fails", dict(no_cmocka, refuses=["libcmocka-dev"]), "check", 1, ["Trying that failed"],
         [APT + "libcmocka-dev", "apt-get update", APT + "libcmocka-dev"], YES="1")
    # Without these some tests are left out, and that is said.
    case("wishes, nobody there", wishes, "check", 0, ["skipped for want of: liburcu-dev spin", "YES=1"], [], lines=1)
    case("wishes, y", wishes, "check", 0, ["skipped without: liburcu-dev spin"], [APT + "liburcu-dev spin"], answer="y")
    case("wishes, n", wishes, "check", 0, ["skipped for want of: liburcu-dev spin"], [], answer="n")
    case("wishes, one of which cannot be had", dict(wishes, refuses=["spin"]), "check", 0, ["for want of: spin"],
         [APT + "liburcu-dev spin", "apt-get update", APT + "liburcu-dev spin", APT + "liburcu-dev",
          APT + "spin"], YES="1")
    case("needs and wishes", {"commands": ["spin"], "headers": ["cmocka.h"]}, "check", 0, [],
         [APT + "libcmocka-dev", APT + "spin"], YES="1")
    # Swift comes from nowhere but its own place.
    case("no swift", {"swift": None}, "build", 1, ["there is no 'swift' in PATH", "swift.org"], [], lines=1)
    case("an old swift", {"swift": "echo Swift version 6.2.9"}, "check", 1, ["this is Swift 6.2", "swift.org"], [], lines=1, YES="1")
    case("a swift that says nothing", {"swift": "exit 1"}, "build", 1, ["names no version"], [])
    case("a kind that is none", {}, "chekc", 2, ["unknown kind 'chekc'"], [], lines=1)
    case("pages without mandoc", {"commands": ["mandoc"]}, "check-docs", 0, ["skipped for want of: mandoc"], [], lines=1)
    case("rows of check-package", {"commands": ["abidw", "cmake"]}, "package", 0,
         ["want of: cmake abigail-tools dpkg-dev debhelper lintian rpm util-linux"], [], lines=1)
    case("libabigail, asked for", {"commands": ["abidw"]}, "abi", 1, [APT + "abigail-tools"], [], lines=1)
    print("need: %d passed, %d failed" % (passed, failed))
    sys.exit(1 if failed else 0)


main()
