#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Put bugs in, one by one, and demand that a test finds each: make check-mutants.

mutants.py [NAME]...    all of tests-c/mutants.txt, or those whose name begins so
mutants.py --fit        only see whether the texts of all are where they should be, and the tests
                        that they name

Works on a copy of the tree, in build/mutants, which stays for the next time: only what
has changed is built anew.  A mutant is killed if the test that it names fails, crashes or
takes longer than its limit.  Where no test can see it on this hardware it names a variant of a
model instead (models/), the same mistake made there, and is killed if spin finds that.  It is
an error if the text to replace is not there exactly once, if the mutant does not build, or if
the test fails without it.
"""
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
COPY = os.path.join(TOP, "build", "mutants")
COPIED = ["Makefile", "Package.swift", "tdpmmu.map", "Sources", "include", "scripts", "tests-c", "Tests"]
LIST = os.path.join(TOP, "tests-c", "mutants.txt")
LIMIT_SECONDS = 100  # tests that wait for an event give up themselves, after 60


class Mutant:
    def __init__(self, name, line):
        self.name, self.line = name, line
        self.bug = self.program = self.test = self.model = self.modes = self.missed = None
        self.changes = []  # [file, lines to replace, lines instead]

    def mutated(self):
        """{file: (text now, text with the bug)}; raises ValueError."""
        texts = {}
        for file, old, new in self.changes:
            if not os.path.exists(os.path.join(TOP, file)):
                raise ValueError("there is no " + file)
            with open(os.path.join(TOP, file)) as source:
                before, text = texts.get(file) or (source.read(),) * 2
            old, new = "\n".join(old), "\n".join(new)
            if text.count(old) != 1:
                raise ValueError("in %s this is found %d times, not once:\n%s" % (file, text.count(old), old))
            texts[file] = before, text.replace(old, new)
        return texts


def read_mutants(path):
    """Those of a list.  `also` takes one over from tests-c/mutants.txt; it, `modes` and `missed` are kvm/mutants.txt's."""
    mutants = []
    with open(path) as file:
        for number, line in enumerate(file.read().splitlines(), 1):
            word, _, rest = line.partition(" ")
            mutant = mutants[-1] if mutants else None
            if not line or word == "#":
                continue
            if word == "mutant":
                mutants.append(Mutant(rest, number))
            elif word == "bug":
                mutant.bug = rest
            elif word == "test":
                mutant.program, mutant.test = rest.split()
            elif word == "model":
                mutant.model = rest.split()
            elif word == "modes":
                mutant.modes = rest.split()
            elif word == "missed":
                mutant.missed = rest
            elif word == "also":
                name, *modes = rest.split()
                mutants.append(named(name))
                mutants[-1].test, mutants[-1].modes = None, modes
            elif word == "file":
                mutant.changes.append((rest, [], []))
            elif word in "-+":
                mutant.changes[-1][1 if word == "-" else 2].append(rest)
            else:
                sys.exit("%s:%d: what is this?" % (path, number))
    for mutant in mutants:
        judges = [judge for judge in (mutant.test, mutant.model, mutant.modes) if judge]
        if not (mutant.bug and len(judges) == 1 and mutant.changes and all(c[1] for c in mutant.changes)):
            sys.exit("%s:%d: a part of mutant %s is missing" % (path, mutant.line, mutant.name))
    return mutants


def named(name):
    found = [mutant for mutant in read_mutants(LIST) if mutant.name == name]
    if not found:
        sys.exit("%s has no mutant %s" % (os.path.relpath(LIST, TOP), name))
    return found[0]


def write_if_new(path, data):
    """Leaves the time of a file alone that stays as it is, so that make does, too."""
    if os.path.exists(path):
        with open(path, "rb") as file:
            if file.read() == data:
                return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)


def copy_tree():
    kept = set()
    for top in COPIED:
        for directory, _, files in os.walk(os.path.join(TOP, top)):
            kept.update(os.path.relpath(os.path.join(directory, name), TOP) for name in files)
        if os.path.isfile(os.path.join(TOP, top)):
            kept.add(top)
    for file in kept:
        source = os.path.join(TOP, file)
        with open(source, "rb") as data:
            write_if_new(os.path.join(COPY, file), data.read())
        shutil.copymode(source, os.path.join(COPY, file))
    for top in COPIED:  # what has gone from the tree
        for directory, _, files in os.walk(os.path.join(COPY, top)):
            for name in files:
                path = os.path.join(directory, name)
                if os.path.relpath(path, COPY) not in kept and "__pycache__" not in path:
                    os.remove(path)


def load_script(directory, name):
    spec = importlib.util.spec_from_file_location(name, os.path.join(directory, "scripts", name + ".py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def variant(mutant):
    """The run of a model that a mutant names, or None."""
    models = load_script(TOP, "models")
    runs = [run for run in models.all_runs() if [run.model, *run.flags] == mutant.model and run.kind == "broken"]
    return (models, runs[0]) if runs else None


def build_library():
    """None, or why not."""
    done = subprocess.run(["make", "--no-print-directory", "-C", COPY, "lib"], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, errors="replace")
    if done.returncode:
        return "\n".join(re.findall(r"^.*error.*$", done.stdout + done.stderr, re.M)[:5]) or "no reason given"
    return None


class Programs:
    """The C tests of the copy, each built once: they see only the library change."""

    def __init__(self):
        self.ctests = load_script(COPY, "ctests")
        self.mode = self.ctests.Mode("plain")
        os.makedirs(self.mode.out, exist_ok=True)
        self.built = {}

    def build(self, name):
        program, status, errors = self.mode.build(os.path.join(COPY, "tests-c", name + ".c"))
        if status:
            sys.exit("%s does not compile\n%s" % (name, errors))
        self.built[name] = program

    def forget(self, texts):
        """Tests have the headers' inlines in them, and one a source of the library's."""
        if any(file.startswith(("include", "Sources/CPlatform")) for file in texts):
            self.built.clear()

    def run(self, name, test):
        """'passed', or how it failed."""
        if name not in self.built:
            self.build(name)
        self.mode.environment["TDPMMU_TEST_ONLY"] = test
        status, out, _ = self.mode.run(self.built[name], timeout=LIMIT_SECONDS)
        failed = re.search(r"^not ok \d+ - %s$(.*)" % re.escape(test), out, re.M | re.S)
        if failed:
            place = re.search(r"([^/\s]+:\d+): error", failed.group(1))
            return "failed" + (" at " + place.group(1) if place else "")
        if status == -999:
            return "hung"
        if status < 0:
            return "crashed, " + signal.Signals(-status).name
        if status == 0 and re.search(r"^ok \d+ - %s$" % re.escape(test), out, re.M):
            return "passed"
        return "exit status %d and no result" % status if status else "no such test"


def put_in(texts, which):
    """Write the copy's files: as they are (0) or with the bug (1)."""
    for file, text in texts.items():
        write_if_new(os.path.join(COPY, file), text[which].encode())


def judge(mutant, programs):
    """(killed?, what happened)"""
    try:
        texts = mutant.mutated()
    except ValueError as error:
        return False, "ERROR: " + str(error)
    put_in(texts, 1)
    programs.forget(texts)
    try:
        error = build_library()
        if error:
            return False, "ERROR: does not build\n" + error
        if mutant.model:
            models, run = variant(mutant)
            _, found, what, _ = models.judge(run)
            return found, "%smodel %s: %s" % ("" if found else "SURVIVED ", run, what)
        result = programs.run(mutant.program, mutant.test)
    finally:
        put_in(texts, 0)
        programs.forget(texts)
    if result in ("passed", "no such test"):
        return False, "SURVIVED %s %s: %s" % (mutant.program, mutant.test, result)
    return True, "%s %s: %s" % (mutant.program, mutant.test, result)


def check_unchanged(mutants, programs):
    """Tests that do not pass without any bug prove nothing."""
    error = build_library()
    if error:
        sys.exit("mutants.py: the library does not build\n" + error)
    for program, test in sorted({(m.program, m.test) for m in mutants if m.test}):
        result = programs.run(program, test)
        if result != "passed":
            sys.exit("mutants.py: %s %s without a bug: %s" % (program, test, result))


def misfit(mutant):
    """Why it cannot be put in and judged, or None."""
    try:
        texts = mutant.mutated()
    except ValueError as error:
        return str(error)
    if not all(before != after for before, after in texts.values()):
        return "it changes nothing"
    if mutant.modes:
        return None
    if mutant.model:
        return None if variant(mutant) else "there is no broken variant %s" % " ".join(mutant.model)
    with open(os.path.join(TOP, "tests-c", mutant.program + ".c")) as file:
        if not re.search(r"\b%s\b" % re.escape(mutant.test), file.read()):
            return "%s has no test %s" % (mutant.program, mutant.test)
    return None


def check_fit(mutants):
    errors = {m.name: misfit(m) for m in mutants}
    for name, error in errors.items():
        if error:
            print("%s: %s" % (name, error))
    failed = sum(error is not None for error in errors.values())
    print("mutants that fit: %d passed, %d failed" % (len(mutants) - failed, failed))
    sys.exit(1 if failed or not mutants else 0)


def main():
    mutants = read_mutants(LIST)
    if len({m.name for m in mutants}) != len(mutants):
        sys.exit("mutants.py: two mutants have one name")
    chosen = sys.argv[1:]
    if chosen == ["--fit"]:
        check_fit(mutants + read_mutants(os.path.join(TOP, "kvm", "mutants.txt")))
    mutants = [m for m in mutants if not chosen or any(m.name.startswith(c) for c in chosen)]
    copy_tree()
    programs = Programs()
    check_unchanged(mutants, programs)
    killed = 0
    for mutant in mutants:
        start = time.monotonic()
        good, text = judge(mutant, programs)
        killed += good
        print("%-34s %s (%.0f s)" % (mutant.name, text, time.monotonic() - start), flush=True)
    print("mutants: %d passed, %d failed" % (killed, len(mutants) - killed))
    sys.exit(0 if mutants and killed == len(mutants) else 1)


if __name__ == "__main__":
    main()
