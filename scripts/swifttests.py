#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Run the Swift tests and count them.  A folder of Tests/ in which no test ran
counts as a failure, so that none can vanish unseen."""
import os
import re
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def main():
    environment = {k: v for k, v in os.environ.items() if k not in ("CC", "TDPMMU_EMBEDDED")}
    environment["SWIFT_BACKTRACE"] = "interactive=no,color=no"
    swift = os.environ.get("SWIFT", "swift")
    log_path = os.path.join(TOP, "build", "swift-tests.log")
    os.makedirs(os.path.dirname(log_path), exist_ok=True)
    with open(log_path, "w") as log:
        process = subprocess.Popen([swift, "test"], cwd=TOP, env=environment, text=True,
                                   stdin=subprocess.DEVNULL, errors="replace",
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        lines = []
        for line in process.stdout:
            log.write(line)
            lines.append(line)
            if re.search(r"error:|failed|Fatal|^Build complete", line):
                print("    " + line, end="", flush=True)
        status = process.wait()
    text = "".join(lines)

    # XCTest: "Test Case 'Class.method' passed (0.1 seconds)".
    passed = len(re.findall(r"^Test Case '.*' passed ", text, re.M))
    failed = len(re.findall(r"^Test Case '.*' failed ", text, re.M))
    # Swift Testing: one closing line, "Test run with 3 tests ... passed after".
    modern = re.search(r"Test run with (\d+) tests?.* (passed|failed) after", text)
    if modern and int(modern.group(1)):
        bad = len(set(re.findall(r"✘ Test (\S+).* failed after", text)))
        passed += int(modern.group(1)) - bad
        failed += bad

    folders = sorted(d for d in os.listdir(os.path.join(TOP, "Tests"))
                     if os.path.isdir(os.path.join(TOP, "Tests", d)))
    listing = subprocess.run([swift, "test", "list", "--skip-build"], cwd=TOP, env=environment,
                             capture_output=True, text=True).stdout if status == 0 else ""
    for folder in folders:
        if status == 0 and not re.search(r"^%s\." % re.escape(folder), listing, re.M):
            print("    no test ran in Tests/%s" % folder)
            failed += 1
    if (status and not failed) or not passed:
        print("    swift test ended with %d; the log is %s" % (status, os.path.relpath(log_path, TOP)))
        print("".join("    " + line for line in lines[-30:]), end="")
        failed = max(failed, 1)
    print("Swift tests: %d passed, %d failed" % (passed, failed))
    sys.exit(1 if failed else 0)


main()
