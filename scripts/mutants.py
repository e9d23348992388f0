#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Put bugs in, one by one, and demand that a test finds each: make check-mutants.

mutants.py [NAME]...         all of tests-c/mutants.txt, or those whose name begins so
mutants.py --shard K/N       of all of them one in N, K from 1: for several runs at once, or machines
mutants.py --seek [NAME]...  which test finds each?  All programs are run, the quick ones first
mutants.py --fit             only see whether the texts of all are where they should be, and the tests
                             that they name

Works on a copy of the tree, in build/mutants (a shard: build/mutants-K-of-N), which stays for the
next time: only what has changed is built anew.  A mutant is killed if the test that it names fails,
crashes or takes longer than its limit.  Where no test can see it on this hardware it names a variant
of a model instead (models/), the same mistake made there, and is killed if spin finds that.  It is
an error if the text to replace is not there exactly once, if the mutant does not build, or if
the test fails without it.

A build takes much longer than a test.  So mutants that say `together` are put into one library, all
that do not touch the same text, each behind a switch that the environment chooses; and for a change of
inlines that only programs have in them (`together programs`) no library is built at all.  What came
of each stands in build/mutants-results as well, in a file for each run.
"""
import collections
import fcntl
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
COPIED = ["Makefile", "Package.swift", "tdpmmu.map", "Sources", "include", "scripts", "tests-c", "Tests", "examples", "fuzz", "gdb"]
LIST = os.path.join(TOP, "tests-c", "mutants.txt")
LIMIT_SECONDS = 100  # tests that wait for an event give up themselves, after 60


# How a change and what it replaces stand side by side; 0: the switch's number, 1: the bug, 2: what was there.
TOGETHER = {
    "expression": "(cp_mutant_is({0}) ? ({1}) : ({2}))",
    "statements": "if cp_mutant_is({0}) {{\n{1}\n}} else {{\n{2}\n}}",
    "argument": "(cp_mutant_is({0}) ? ({1}) : ({2}))",  # an expression with a name before it
}
SWITCH_HEADER, SWITCH_SOURCE = "Sources/CPlatform/include/cp_mutant.h", "Sources/CPlatform/mutant.c"
UMBRELLA = "Sources/CPlatform/include/cplatform.h"
SWITCH = {
    SWITCH_HEADER: """#pragma once
#include <stdbool.h>
extern int cp_mutant_chosen;
static inline bool cp_mutant_is(int number) { return cp_mutant_chosen == number; }
""",
    SWITCH_SOURCE: """#include "cp_mutant.h"
#include <stdlib.h>
int cp_mutant_chosen;
__attribute__((constructor)) static void choose(void)
{
    const char *number = getenv("TDPMMU_MUTANT");
    cp_mutant_chosen = number ? atoi(number) : 0;
}
""",
}
BATCH = 250  # mutants in one library at most


class Mutant:
    def __init__(self, name, line):
        self.name, self.line = name, line
        self.bug = self.program = self.test = self.model = self.modes = self.missed = None
        self.together = None  # a form of TOGETHER, or "programs"
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
            elif word == "together" and rest in (*TOGETHER, "programs"):
                mutant.together = rest
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


def side_by_side(mutants, most=BATCH):
    """({file: text} with as many mutants as fit, behind switches, those mutants by number, the rest)."""
    texts, chosen, rest = dict(SWITCH), {}, []
    for mutant in mutants:
        new, number = {}, len(chosen) + 1
        try:
            for file, old, bug in mutant.changes:
                with open(os.path.join(TOP, file)) as source:
                    text = new.get(file) or texts.get(file) or source.read()
                old, bug = "\n".join(old), "\n".join(bug)
                if text.count(old) != 1 or number > most:
                    raise ValueError
                name = re.match(r"\w+: ", old).group() if mutant.together == "argument" else ""
                new[file] = text.replace(old, name + TOGETHER[mutant.together].format(
                    number, bug.removeprefix(name), old.removeprefix(name)))
        except ValueError:
            rest.append(mutant)
            continue
        texts.update(new)
        chosen[number] = mutant
    for file in [file for file in texts if file.endswith(".swift")]:
        if not re.search(r"^import CPlatform$", texts[file], re.M):
            texts[file] = "import CPlatform\n" + texts[file]
    with open(os.path.join(TOP, UMBRELLA)) as umbrella:
        texts[UMBRELLA] = umbrella.read() + '#include "cp_mutant.h"\n'
    return texts, chosen, rest


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
                    os.remove(path)  # the switch of mutants that were together, too


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

    def run(self, name, test, number=0):
        """'passed', or how it failed.  `number`: of the mutant, where several are in the library."""
        if name not in self.built:
            self.build(name)
        self.mode.environment["TDPMMU_TEST_ONLY"] = test
        self.mode.environment["TDPMMU_MUTANT"] = str(number)
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


    def suspects(self, name, number):
        """Tests of a program that failed, or did not report; run all at once."""
        if name not in self.built:
            self.build(name)
        self.mode.environment.pop("TDPMMU_TEST_ONLY", None)
        self.mode.environment["TDPMMU_MUTANT"] = str(number)
        status, out, _ = self.mode.run(self.built[name], timeout=LIMIT_SECONDS)
        failed = re.findall(r"^not ok \d+ - (\S+)(?!.*# SKIP)", out, re.M)
        if failed or status == 0:
            return failed
        with open(os.path.join(COPY, "tests-c", name + ".c")) as file:
            text = file.read()
        functions = set(re.findall(r"^static void (\w+)\(void \*\*", text, re.M))
        tests = [word for word in re.findall(r"\w+", text.rpartition("CMUnitTest")[2]) if word in functions]
        reported = re.findall(r"^(?:not )?ok \d+ - (\S+)", out, re.M)
        return [test for test in tests if test not in reported]


def put_in(texts, which):
    """Write the copy's files: as they are (0) or with the bug (1)."""
    for file, text in texts.items():
        write_if_new(os.path.join(COPY, file), text[which].encode())


def judge_inlines(mutant, programs, look):
    """(killed?, what happened), of headers' inlines, which only the program has in it."""
    include = os.path.join(COPY, "build", "include-mutated")
    shutil.rmtree(include, ignore_errors=True)
    shutil.copytree(os.path.join(COPY, "include"), include)
    for file, (_, text) in mutant.mutated().items():
        with open(os.path.join(include, os.path.relpath(file, "include")), "w") as header:
            header.write(text)
    compiler, programs.mode.compiler = programs.mode.compiler, [*programs.mode.compiler, "-I", include]
    programs.built.clear()
    try:
        return look(mutant, programs, 0)
    finally:
        programs.mode.compiler = compiler
        programs.built.clear()


def judge_alone(mutant, programs, look):
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
        return look(mutant, programs, 0)
    finally:
        put_in(texts, 0)
        programs.forget(texts)


def judge_together(mutants, programs, look, most=BATCH):
    """Yields (mutant, killed?, what happened) of those that share a library."""
    left = mutants
    while left:
        texts, chosen, left = side_by_side(left, most)
        before = {}
        for file in texts:
            if os.path.exists(os.path.join(TOP, file)):
                with open(os.path.join(TOP, file)) as source:
                    before[file] = source.read()
        put_in({file: (before.get(file), text) for file, text in texts.items()}, 1)
        error = build_library()
        for number, mutant in chosen.items() if not error else ():
            yield (mutant, *look(mutant, programs, number))
        put_in({file: (text, text) for file, text in before.items()}, 0)
        for file in SWITCH:
            os.remove(os.path.join(COPY, file))
        if error and len(chosen) > 1:  # one of them cannot be so: half as many at a time
            yield from judge_together(list(chosen.values()), programs, look, (len(chosen) + 1) // 2)
        elif error or not chosen:
            for mutant in chosen.values() or left:
                yield (mutant, *judge_alone(mutant, programs, look))
            left = left if chosen else []


def look_at_test(mutant, programs, number):
    """Does the test that it names find it?"""
    if mutant.model:
        models, run = variant(mutant)
        _, found, what, _ = models.judge(run)
        return found, "%smodel %s: %s" % ("" if found else "SURVIVED ", run, what)
    result = programs.run(mutant.program, mutant.test, number)
    survived = result in ("passed", "no such test")
    return not survived, "%s%s %s: %s" % ("SURVIVED " if survived else "", mutant.program, mutant.test, result)


# What takes longer than a few seconds, and is about few files.
SLOW = ["test_memory", "test_rcu_ends", "test_rcu", "test_pml_steps", "test_rcu_steps", "test_fork", "test_rcu_more",
        "test_rcu_litmus", "test_match"]


def seek(mutant, programs, number):
    """Does any test find it?"""
    names = [name[:-2] for name in sorted(os.listdir(os.path.join(COPY, "tests-c"))) if name.startswith("test_") and name.endswith(".c")]
    first = [mutant.program] if mutant.program in names else []
    for name in first + sorted((name for name in names if name not in first), key=lambda name: (name in SLOW, SLOW.index(name) if name in SLOW else 0)):
        if programs.mode.why_not(os.path.join(COPY, "tests-c", name + ".c")):
            continue
        for test in programs.suspects(name, number)[:3]:
            result = programs.run(name, test, number)
            if result not in ("passed", "no such test"):
                return True, "%s %s: %s" % (name, test, result)
    return False, "SURVIVED all programs"


def judge_all(mutants, programs, look):
    """Yields (mutant, killed?, what happened), those together first."""
    yield from judge_together([mutant for mutant in mutants if mutant.together in TOGETHER], programs, look)
    if not build_library():
        for mutant in mutants:
            if mutant.together == "programs":
                yield (mutant, *judge_inlines(mutant, programs, look))
    for mutant in mutants:
        if not mutant.together:
            yield (mutant, *judge_alone(mutant, programs, look))


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


def shard_of(text):
    """(K, N)"""
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    shard, shards = map(int, found.groups()) if found else (0, 0)
    if not 1 <= shard <= shards:
        sys.exit("mutants.py: a shard is K/N, K from 1 to N, and not %s" % (text or "nothing"))
    return shard, shards


def lock_copy():
    """For this process alone, until it ends."""
    os.makedirs(COPY, exist_ok=True)
    lock = open(os.path.join(COPY, ".lock"), "w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        sys.exit("mutants.py: another run is at work in %s" % os.path.relpath(COPY, TOP))
    return lock


def print_table(results):
    """Files, with how many mutants each has and how many were found; and those that were not."""
    files = collections.defaultdict(lambda: [0, 0, 0.0])
    for mutant, good, _, seconds in results:
        row = files[os.path.dirname(mutant.changes[0][0])]
        row[0] += 1
        row[1] += good
        row[2] += seconds
    print("\n%-28s %8s %8s %8s" % ("mutants of", "found", "of", "seconds"))
    for file, (count, found, seconds) in sorted(files.items()):
        print("%-28s %8d %8d %8.0f" % (file, found, count, seconds))
    for mutant, good, text, _ in results:
        if not good:
            print("not found: %s: %s" % (mutant.name, text))


def main():
    global COPY
    mutants = read_mutants(LIST)
    if len({m.name for m in mutants}) != len(mutants):
        sys.exit("mutants.py: two mutants have one name")
    chosen, look, run = sys.argv[1:], look_at_test, "all"
    if chosen == ["--fit"]:
        check_fit(mutants + read_mutants(os.path.join(TOP, "kvm", "mutants.txt")))
    if chosen[:1] == ["--seek"]:
        chosen, look = chosen[1:], seek
    if chosen[:1] == ["--shard"]:
        shard, shards = shard_of(" ".join(chosen[1:]))
        chosen, run = [], "%d-of-%d" % (shard, shards)
        COPY += "-" + run
        mutants = mutants[shard - 1::shards]
    unknown = [name for name in chosen if not any(m.name.startswith(name) for m in mutants)]
    if unknown:
        sys.exit("mutants.py: no mutant's name begins with %s" % unknown[0])
    mutants = [m for m in mutants if not chosen or any(m.name.startswith(c) for c in chosen)]
    lock = lock_copy()
    copy_tree()
    programs = Programs()
    if look is not seek:
        check_unchanged(mutants, programs)
    results_path = os.path.join(TOP, "build", "mutants-results", run + ".txt")
    os.makedirs(os.path.dirname(results_path), exist_ok=True)
    results, start = [], time.monotonic()
    with open(results_path, "w") as file:
        for mutant, good, text in judge_all(mutants, programs, look):
            now = time.monotonic()
            results.append((mutant, good, text, now - start))
            line = "%-34s %s (%.0f s)" % (mutant.name, text, now - start)
            start = now
            print(line, flush=True)
            print(line, file=file, flush=True)
    print_table(results)
    killed = sum(good for _, good, _, _ in results)
    print("mutants: %d passed, %d failed" % (killed, len(mutants) - killed))
    lock.close()
    sys.exit(0 if mutants and killed == len(mutants) else 1)


if __name__ == "__main__":
    main()
