#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The order of locks in docs/LOCKING.md is that of enum LockRank, and both say the same
about waiting; every mutex has a rank; every rank is some lock's.  The device's locks are those
that the section about it names."""
import glob
import os
import re
import sys

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
RANKS = "Sources/Sync/LockRank.swift"
ROW = re.compile(r"^\| .* \| `\.(\w+)` \| .* \| (yes|no)\b")
# Words that are only ever tried, never waited for, may do without; so may the mutex itself.
UNRANKED = {"Sources/Sync/Mutex.swift", "Sources/Sync/RankedMutex.swift", "Sources/PageTable/TableCache.swift"}


def read(name):
    with open(os.path.join(TOP, name)) as file:
        return file.read()


def documented():
    section = read("docs/LOCKING.md").split("\n## Order\n")[1].split("\n## ")[0]
    return [row.groups() for row in map(ROW.match, section.splitlines()) if row]


def coded():
    text = read(RANKS)
    body = text.split("enum LockRank")[1].split("package var")[0]
    ranks = re.findall(r"^    case (\w+)(?: = 1)?$", body, re.M)
    yes = re.search(r"case (.*): true", text).group(1)
    waiting = set(re.findall(r"\.(\w+)", yes))
    return [(rank, "yes" if rank in waiting else "no") for rank in ranks], waiting - set(ranks)


def device_locks():
    """{(lock, file)} of /dev/kvm in userspace: those that are documented, and those that there are."""
    section = read("docs/LOCKING.md").split("\n## `/dev/kvm` in userspace\n")[1].split("\n## ")[0]
    rows = set(re.findall(r"^\| `([\w.]+)` \| `(\w+\.[ch])` \|", section, re.M))
    found = set()
    for path in glob.glob(os.path.join(TOP, "Sources", "CKVMDevice", "**", "*.[ch]"), recursive=True):
        file, struct = os.path.basename(path), None
        for line in read(os.path.relpath(path, TOP)).splitlines():
            opened = re.match(r"struct (\w+) \{", line)
            struct = opened.group(1) if opened else None if line.startswith("}") else struct
            member = re.match(r"\s+struct ckd_lock (\w+);", line)
            static = re.match(r"\s*static pthread_(?:mutex|rwlock)_t (\w+)\b", line)
            if member:
                found.add((struct + "." + member.group(1), file))
            if static:
                found.add((static.group(1), file))
    return rows, found


def main():
    checks = []
    ranks, unknown = coded()
    table = documented()
    checks.append(("the table names the ranks in their order", [r for r, _ in table] == [r for r, _ in ranks]))
    checks.append(("table and code say the same about waiting", table == ranks and not unknown))
    sources = {os.path.relpath(path, TOP): read(path) for path in
               glob.glob(os.path.join(TOP, "Sources", "*", "*.swift"))}
    plain = sorted(name for name, text in sources.items() if "FutexMutex(" in text and name not in UNRANKED)
    checks.append(("every mutex has a rank" + (": not in " + ", ".join(plain) if plain else ""), not plain))
    used = "\n".join(text for name, text in sources.items() if name != RANKS)
    idle = [rank for rank, _ in ranks if not re.search(r"[(:] ?(rank: )?\.%s\b|, \.%s\)" % (rank, rank), used)]
    checks.append(("every rank is a lock's" + (": not " + ", ".join(idle) if idle else ""), not idle))
    rows, found = device_locks()
    odd = ", ".join(sorted("%s (%s)" % lock for lock in rows ^ found))
    checks.append(("each of the device's locks has a row, each row a lock" + (": not " + odd if odd else ""), found and not odd))
    for text, good in checks:
        if not good:
            print("check-locks: FAILED: " + text)
    failed = sum(not good for _, good in checks)
    print("locks: %d passed, %d failed" % (len(checks) - failed, failed))
    sys.exit(1 if failed or not ranks else 0)


main()
