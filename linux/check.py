#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The C suite on Linux's own TDP MMU (build/linux/libtdpmmu.so.1, `make linux`).

check.py [--only PROGRAM]... [--test NAME] [--library DIRECTORY] [--once]

The test programs are those of `make check-c`, and the loader gives them the other library.  A test
that cannot pass there is named in linux/expected.txt with the reason; one that is listed and passes,
or fails and is not listed, is an error.  A program that ends early is run again, test by test; with --once only until one fails that is not listed.
"""
import argparse
import concurrent.futures
import glob
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(HERE)
sys.path.insert(0, os.path.join(TOP, "scripts"))
import ctests  # noqa: E402

EXPECTED = os.path.join(HERE, "expected.txt")
SECONDS = 300


def expected():
    """{(program, test): reason}, and the programs with tests that do not return."""
    found, endless, reason = {}, set(), None
    with open(EXPECTED) as lines:
        for number, line in enumerate(lines, 1):
            line = line.rstrip()
            if not line or line.startswith("# "):
                continue
            if line.startswith("= "):
                reason = line[2:]
                continue
            if line.startswith("! "):
                line = line[2:]
                endless.add(line.split()[0])
            words = tuple(line.split(None, 1))
            if len(words) != 2 or reason is None:
                sys.exit("linux/expected.txt:%d: a program and a test of it, below a line `= REASON`" % number)
            if words in found:
                sys.exit("linux/expected.txt:%d: %s %s is listed twice" % (number, *words))
            found[words] = reason
    return found, endless


def results(out):
    """{test: passed} of what TAP says; skipped ones are not in it."""
    found = {}
    for state, name, skipped in re.findall(r"^(ok|not ok) \d+ - (.*?)( # SKIP.*)?$", out, re.M):
        if not skipped:
            found[name] = state == "ok"
    return found


def said_of(out, test):
    """What TAP says behind the line of a test that failed, up to the next test."""
    block = re.search(r"^not ok \d+ - %s\n((?:(?!(?:not )?ok ).*\n?)*)" % re.escape(test), out, re.M)
    return block.group(1) if block else out


def planned(out):
    return sum(int(n) for n in re.findall(r"^1\.\.(\d+)", out, re.M))


def names_of(source):
    """The names of a file's tests, as cmocka will say them."""
    with open(source) as file:
        text = file.read()
    text = re.sub(r"^#define (?:.*\\\n)*.*$", "", text, flags=re.M)
    return re.findall(r"cmocka_unit_test\w*\(\s*(\w+)", text)


class Suite:
    def __init__(self, library, listed, endless, once):
        self.listed, self.endless, self.once = listed, endless, once
        self.mode = ctests.Mode("plain")
        self.mode.out = os.path.join(TOP, "build", "tests-linux")
        os.makedirs(self.mode.out, exist_ok=True)
        self.environment = dict(self.mode.environment, LD_LIBRARY_PATH=library)

    def run(self, program, only=None):
        environment = dict(self.environment)
        if only:
            environment["TDPMMU_TEST_ONLY"] = only
        mode = ctests.Mode("plain")
        mode.environment = environment
        return mode.run(program, timeout=20 if self.once else SECONDS)

    def one(self, source, test=None):
        """(program, {test: passed}, {test: output}, what is wrong with the program as such)"""
        name = os.path.splitext(os.path.basename(source))[0]
        if self.mode.why_not(source):
            return name, {}, {}, None
        program, status, errors = self.mode.build(source)
        if status:
            return name, {}, {}, "does not compile\n" + ctests.tail(errors)
        status, out, err = (0, "", "") if name in self.endless and not test else self.run(program, test)
        found = results(out)
        whole = found and planned(out) == len(found) + len(re.findall(r"# SKIP", out))
        outputs = {}
        # What failed may have been left in a state by one before it; what did not come to its turn has one of its own.
        again = {each for each in found if not found[each]} | (set() if whole else set(names_of(source)) - set(found))
        for each in sorted(again):
            if self.once and (name, each) in self.listed:
                found.pop(each, None)
                continue
            status, out, err = self.run(program, each)
            one = results(out)
            found[each] = one.get(each, False) and status == 0
            if self.once and not found[each]:
                found = {test: found[test] for test in found if found[test] or test == each}
                outputs[each] = said_of(out, each) + err
                break
            outputs[each] = said_of(out, each) + err + ("" if one else "\nended with status %d\n" % status)
        return name, found, outputs, None if found else "ran no test, status %d\n%s" % (status, ctests.tail(out + err))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", action="append")
    parser.add_argument("--test")
    parser.add_argument("--library", default=os.path.join(TOP, "build", "linux"))
    parser.add_argument("--once", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    if not os.path.exists(os.path.join(options.library, "libtdpmmu.so.1")):
        sys.exit("check-linux: there is no %s/libtdpmmu.so.1; run make linux" % options.library)
    listed, endless = expected()
    suite = Suite(os.path.abspath(options.library), listed, endless, options.once)
    sources = sorted(glob.glob(os.path.join(ctests.TESTS, "test_*.c")))
    if options.only:
        sources = [s for s in sources if os.path.basename(s)[:-2] in options.only]
    if not sources:
        sys.exit("check-linux: no tests found")
    wrong, passed, known, seen = [], 0, 0, set()
    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        for name, found, outputs, trouble in pool.map(lambda s: suite.one(s, options.test), sources):
            good = sum(found.values())
            listed_here = {t for t in found if (name, t) in listed}
            print("%-18s %3d passed, %d failed as listed, %d wrong" % (
                name, sum(found[t] for t in found if t not in listed_here),
                sum(not found[t] for t in listed_here),
                sum(found[t] == (t in listed_here) for t in found) + bool(trouble)), flush=True)
            passed += good
            known += sum(not found[t] for t in listed_here)
            seen |= {(name, t) for t in found}
            if trouble:
                wrong.append("%s: %s" % (name, trouble))
            for test, ok in sorted(found.items()):
                if ok and test in listed_here:
                    wrong.append("%s %s passes and is listed in linux/expected.txt (%s)" % (
                        name, test, listed[name, test]))
                if not ok and test not in listed_here:
                    text = "%s %s fails" % (name, test)
                    wrong.append(text + "\n" + ctests.tail(outputs[test], 60 if options.verbose else 12))
    if not options.only and not options.test:
        wrong += ["linux/expected.txt names %s %s, which is no test" % key for key in sorted(
            set(listed) - seen)]
    for text in wrong:
        print(text)
    print("Linux's TDP MMU: %d tests passed, %d failed as listed, %d wrong" % (passed, known, len(wrong)))
    sys.exit(1 if wrong or not passed else 0)


if __name__ == "__main__":
    main()
