#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Contracts, three times: what each function's header comment says, what the library
demands (Sources/ABI/Contracts.swift) and what the test of contracts expects
(tests-c/test_contracts.c).  Fails with a line for each disagreement, for each function
that lacks one of the three, and for each sentence about locks that is none of VOCABULARY.

A comment's contract is one sentence of VOCABULARY; it holds for the functions that
follow until an empty line or another comment."""
import os
import re
import sys

import headers
import symbols

TOP = symbols.TOP
# Rule in Sources/ABI/Contract.swift: the sentence in the headers.
VOCABULARY = {
    "anyLock": "Any lock",
    "lockR": "Lock R",
    "lockW": "Lock W",
    "lockRorW": "Lock R or W",
    "rcu": "In RCU",
    "rcuOrLockW": "In RCU, or Lock W",
    "rcuOrLockRorW": "In RCU, or Lock R or W",
    "rcuOrSRCU": "In RCU or kvm->srcu",
    "noLock": "No lock",
    "noLockNotRCU": "No lock, not in RCU",
    "noLockNotRCUNotSRCU": "No lock, not in RCU, not in kvm->srcu",
    "noLockNoReaderNoCallback":
        "No lock, not in RCU, not in kvm->srcu, not in a callback",
    "shared ? .lockR : .lockW": "Lock R if shared, else W",
    "notRCU": "Any lock, not in RCU",
    "noLockNotRCUNotCallback": "No lock, not in RCU, not in an RCU callback",
    "noLockNotRCUNotDomain": "No lock, not in RCU, not in a reader of ssp",
    "noLockNotRCUNotDomainNotCallback": "No lock, not in RCU, not in a reader of ssp, not in an RCU callback",
    "notLockW": "Not under Lock W",
    "noLockOrLockW": "No lock or Lock W",
    "domain": "In a reader of ssp",
    "notDomain": "Not in a reader of ssp",
}
SET_UP = "; TDP MMU set up"
# A sentence that begins so is about locks, and has to be of the vocabulary.
LOOSE = re.compile(r"(No lock|Any lock|Lock [RW]|In RCU|RCU only|RCU or|Not under Lock)\b")
PHRASES = set(VOCABULARY.values()) | {phrase + SET_UP for phrase in VOCABULARY.values()}


def read(*path):
    with open(os.path.join(TOP, *path)) as file:
        return file.read()


def contracts_of(comment):
    """The sentences of a comment that are contracts, and those that try to be."""
    said = [s.rstrip(".") for paragraph in comment.blocks() for sentence in headers.sentences(paragraph[1])
            for s in re.split(r"(?<=:)\s+(?=[A-Z])", sentence)]
    return [s for s in said if s in PHRASES], [s for s in said if LOOSE.match(s) and s not in PHRASES]


def in_headers(names, problems):
    """Function: phrase."""
    found = {}
    for header in headers.all_headers():
        if header.name == "tdpmmu":
            continue  # explains the vocabulary
        for comment in header.comments:
            contracts, loose = contracts_of(comment)
            place = "%s.h:%d" % (header.name, comment.line)
            problems += ["%s: not a contract of the vocabulary: %s." % (place, s) for s in loose]
            if len(contracts) > 1:
                problems.append("%s: two contracts in one comment" % place)
        for function in header.functions():
            contracts = contracts_of(function.comment)[0] if function.comment and function.is_adjacent else []
            if contracts and function.name in names:
                found.setdefault(function.name, contracts[0])
    return found


def in_swift(problems):
    text = read("Sources", "ABI", "Contracts.swift")
    found = {}
    declaration = re.compile(
        r"static var (\w+): ContractFor<\w+> \{ ContractFor\(\.(\w+)(.*)|"
        r"/// (shared.*)\n\s*static func (\w+)")
    for line in declaration.finditer(text):
        name, rule = line[1] or line[5], line[2] or line[4]
        if rule not in VOCABULARY:
            problems.append("Contracts.swift: %s: no phrase for the rule %s" % (name, rule))
            continue
        found[name] = VOCABULARY[rule] + (SET_UP if "whenSetUp: true" in (line[3] or "") else "")
    return found


def are_used(names, problems):
    """A contract that nobody enters by is only words."""
    text = "".join(read("Sources", "ABI", name) for name in os.listdir(os.path.join(TOP, "Sources", "ABI"))
                   if name not in ("Contracts.swift", "Contract.swift"))
    for name, phrase in names.items():
        if phrase == "Any lock":
            continue
        body = re.search(r"public func %s\(.*?(?=\n@c|\Z)" % name, text, re.S)
        forwards = body and re.search(r"\b(rcu|synchronize|call|readLockSlow|readUnlockSlow)\w*\(", body[0])
        if not re.search(r"Contract\.%s\b" % name, text) and not forwards:
            problems.append("%s: its contract is not entered anywhere in Sources/ABI" % name)


def in_test():
    text = read("tests-c", "test_contracts.c")
    return {name: phrase for name, phrase in re.findall(r'^ +ROW\((\w+), "([^"]+)"', text, re.M)}


def main():
    names = symbols.declared() - symbols.VARIABLES
    problems = []
    headers = in_headers(names, problems)
    swift, test = in_swift(problems), in_test()
    for name in sorted(names):
        said = headers.get(name)
        if said is None:
            problems.append("%s: its header comment states no contract" % name)
        for where, contracts in (("Contracts.swift", swift), ("test_contracts.c", test)):
            if name not in contracts:
                problems.append("%s: has no contract in %s" % (name, where))
            elif said and contracts[name] != said:
                problems.append('%s: header "%s.", %s "%s."' % (name, said, where, contracts[name]))
    for where, contracts in (("Contracts.swift", swift), ("test_contracts.c", test)):
        problems += ["%s: in %s, not in the headers" % (name, where) for name in sorted(set(contracts) - names)]
    are_used(swift, problems)
    for problem in problems:
        print("contracts: " + problem, file=sys.stderr)
    print("contracts: %d passed, %d failed" % (len(names), len(problems)))
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
