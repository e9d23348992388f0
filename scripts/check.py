#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""make check: every suite in order, then the sum of what they counted.

Each suite ends with a line `NAME: N passed, N failed`.  One that prints none,
or that ran nothing, has failed, unless it says `NAME: skipped: why` and no more."""
import re
import subprocess
import sys
import time

SUITES = ["check-symbols", "check-contracts", "check-traps", "check-rules", "check-mutants-fit", "check-library",
          "check-headers",
          "check-comments", "check-man", "check-docs",
          "check-locks", "check-models-short", "check-floors", "check-where", "check-sptes",
          "check-abi",
          "check-need",
          "check-c",
          "check-explore", "check-examples", "check-fuzz", "check-torture", "check-bench", "check-kvm",
          "check-swift",
          "check-lists", "check-kernel-bodies", "check-traces",
          "check-readme", "check-install",
          "check-tool",
          "check-gdb"]
SKIPPED = re.compile(r"^[\w() -]+: skipped: ")
COUNTS = re.compile(r"^[\w() -]+: (\d+) passed, (\d+) failed")


def run(target):
    """Returns (last count line or None, passed, failed); shows the output as it comes."""
    process = subprocess.Popen(["make", "--no-print-directory", target, "BODY_LISTS=300"], text=True,
                               errors="replace", stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    line, skipped = None, False
    for text in process.stdout:
        found = COUNTS.match(text)
        line = found or line
        skipped = skipped or bool(SKIPPED.match(text))
        print(text, end="", flush=True)
    status = process.wait()
    passed, failed = (int(line.group(1)), int(line.group(2))) if line else (0, 0)
    if failed == 0 and (status or (passed == 0 and not skipped)):
        failed = 1
    return passed, failed


def main():
    total_passed = total_failed = 0
    table = []
    for target in ["all"] + SUITES:
        print("== make %s" % target, flush=True)
        start = time.monotonic()
        if target == "all":
            status = subprocess.run(["make", "--no-print-directory", "all"],
                                    stdin=subprocess.DEVNULL).returncode
            passed, failed = (0, 1) if status else (0, 0)
        else:
            passed, failed = run(target)
        table.append((target, passed, failed, time.monotonic() - start))
        total_passed += passed
        total_failed += failed
    print("\n%-16s %8s %8s %8s" % ("suite", "passed", "failed", "seconds"))
    for target, passed, failed, seconds in table:
        print("%-16s %8d %8d %8.1f" % (target, passed, failed, seconds))
    print("\n%d passed, %d failed" % (total_passed, total_failed))
    sys.exit(1 if total_failed else 0)


main()
