#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""How much do KVM's selftests see?  Put bugs into the library, one by one, and run them: make check-kvm-mutants.

mutants.py [NAME]...    all of kvm/mutants.txt, or those whose name begins so
(Whether their texts are where they should be: scripts/mutants.py --fit.)
Prints for each bug and mode which selftests find it: those that fail or hang with it, and pass without.  It is an
error if none does and the list does not say so, if a bug cannot be put in or built, or if a selftest fails without."""
import importlib.util
import os
import re
import shutil
import sys
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(TOP, "kvm"))
import check  # noqa: E402
import engine  # noqa: E402
import selftests  # noqa: E402


def load_mutants():
    """scripts/mutants.py, whose name is this one's, with a copy of the tree for this."""
    spec = importlib.util.spec_from_file_location("library_mutants", os.path.join(TOP, "scripts", "mutants.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.COPY = os.path.join(TOP, "build", "kvm-mutants", "tree")
    return module


mutants = load_mutants()
RUN = os.path.join(TOP, "build", "kvm-mutants", "run")
LIMIT = 40
# Slow, or about something else: no bug of the list was ever found by one of these alone.
LEFT_OUT = re.compile(r"memslot_perf_test|kvm_create_max_vcpus|guest_print_test")


def install():
    """The device, the engine, and the library of the copy, side by side."""
    os.makedirs(RUN, exist_ok=True)
    for name in ("tdpmmu-kvm", "libtdpmmu-kvm.so"):
        shutil.copy2(os.path.join(TOP, "build", name), RUN)
    if os.path.exists(engine.ENGINE): # else it is another's, which is found as everywhere
        shutil.copy2(engine.ENGINE, RUN)
    shutil.copy2(os.path.join(mutants.COPY, "build", "libtdpmmu.so.1"), RUN)


class Judge:
    def __init__(self):
        self.guests = check.compiled("tests-kvm/test_guests.c", "-lcmocka", "-lpthread")
        self.folder = selftests.programs(build=True)
        self.rows = [row for row in selftests.rows() if not LEFT_OUT.search(row.name)]

    def own(self, mode):
        """Guests of ours, tests-kvm/test_guests.c, that do not pass."""
        _, text = check.run([os.path.join(RUN, "tdpmmu-kvm"), "--quiet", "--mmu", mode.rsplit("-nx-", 1)[0], self.guests],
                            CMOCKA_MESSAGE_OUTPUT="TAP")
        plan, good = re.search(r"^1\.\.(\d+)$", text, re.M), re.findall(r"^ok \d+ - ", text, re.M)
        failed = re.findall(r"^not ok \d+ - (.*)$", text, re.M)
        return failed or ([] if plan and len(good) == int(plan[1]) else ["no result"])

    def finders(self, mode):
        """Rows that do not pass."""
        found = []
        for row in self.rows:
            if row.applies(mode):
                word, _, _ = selftests.run(self.folder, row, mode, RUN, LIMIT)
                if word != "pass":
                    found.append(row.name + (" (hangs)" if word == "hang" else ""))
        return found

    def check_unchanged(self, modes):
        error = mutants.build_library()
        if error:
            sys.exit("mutants.py: the library does not build\n" + error)
        install()
        for mode in modes:
            found = self.finders(mode) + self.own(mode)
            if found:
                sys.exit("mutants.py: without a bug, %s: %s" % (mode, ", ".join(found)))

    def judge(self, mutant):
        """{mode: (finders, guests of ours)}, or why it cannot be judged"""
        try:
            texts = mutant.mutated()
        except ValueError as error:
            return str(error)
        mutants.put_in(texts, 1)
        try:
            error = mutants.build_library()
            if error:
                return "does not build\n" + error
            install()
            return {mode: (self.finders(mode), self.own(mode)) for mode in mutant.modes}
        finally:
            mutants.put_in(texts, 0)


def is_found(result):
    return not isinstance(result, str) and any(found for found, _ in result.values())


def told(mutant, result):
    """(as the list says?, lines)"""
    if isinstance(result, str):
        return False, ["ERROR: " + result]
    lines = ["%s: %s; guests of ours: %s" % (mode, ", ".join(found) or "none", ", ".join(own) or "none")
             for mode, (found, own) in result.items()]
    if is_found(result):
        return True, lines + (["the list says that none finds it"] if mutant.missed else [])
    return bool(mutant.missed), lines + ["missed: " + (mutant.missed or "and the list does not say why")]


def main():
    everyone = mutants.read_mutants(os.path.join(TOP, "kvm", "mutants.txt"))
    chosen = sys.argv[1:]
    listed = [m for m in everyone if not chosen or any(m.name.startswith(name) for name in chosen)]
    mutants.copy_tree()
    judge = Judge()
    judge.check_unchanged(sorted({mode for mutant in listed for mode in mutant.modes}))
    good = found = 0
    for mutant in listed:
        start = time.monotonic()
        result = judge.judge(mutant)
        as_listed, lines = told(mutant, result)
        good += as_listed
        found += is_found(result)
        print("%s (%.0f s): %s" % (mutant.name, time.monotonic() - start, mutant.bug), *lines, sep="\n    ", flush=True)
    print("kvm-mutants: %d of %d found by KVM's selftests" % (found, len(listed)))
    print("kvm-mutants: %d passed, %d failed" % (good, len(listed) - good))
    sys.exit(0 if listed and good == len(listed) else 1)


if __name__ == "__main__":
    main()
