#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Build the Swift tests, run them and count them, each folder of Tests/ in a
process of its own: the tool's tests use the built libtdpmmu.so, the library's the
same sources linked in, and one process must not have both at work.  A folder in
which no test ran has failed, so that none can vanish unseen."""
import os
import re
import subprocess
import sys
import threading

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SWIFT = os.environ.get("SWIFT", "swift")
TIMEOUT_SECONDS = 1200  # for one folder, or the build
LOG = os.path.join("build", "swift-tests.log")


def swift(arguments, log):
    """Runs it, shows what looks like trouble; returns (status, output)."""
    environment = {k: v for k, v in os.environ.items() if k != "CC"}
    environment["SWIFT_BACKTRACE"] = "interactive=no,color=no"
    process = subprocess.Popen([SWIFT, *arguments], cwd=TOP, env=environment, text=True,
                               stdin=subprocess.DEVNULL, errors="replace",
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    watchdog = threading.Timer(TIMEOUT_SECONDS, process.kill)
    watchdog.start()
    lines = []
    for line in process.stdout:
        log.write(line)
        lines.append(line)
        if re.search(r"error:|Fatal|✘|^Test Case .* failed", line):
            print("    " + line, end="", flush=True)
    status = process.wait()
    watchdog.cancel()
    return status, "".join(lines)


def count(text):
    # XCTest: "Test Case 'Class.method' passed (0.1 seconds)".
    passed = len(re.findall(r"^Test Case '.*' passed ", text, re.M))
    failed = len(re.findall(r"^Test Case '.*' failed ", text, re.M))
    # Swift Testing: "✔ Test name() passed after 0.1 seconds."
    passed += len(re.findall(r"^✔ Test (?!run )\S.* passed after", text, re.M))
    failed += len(re.findall(r"^✘ Test (?!run )\S.* failed after", text, re.M))
    return passed, failed


def run_folder(folder, log):
    status, text = swift(["test", "--skip-build", "--filter", "^%s\\." % folder], log)
    passed, failed = count(text)
    note = ""
    if not failed and (status or not passed):
        failed = 1
        note = "ran no test" if not status else "ended with status %d" % status
        print("".join("    " + line + "\n" for line in text.splitlines()[-20:]), end="")
    print("%-16s %3d passed, %d failed  %s" % (folder, passed, failed, note), flush=True)
    return passed, failed


def main():
    os.makedirs(os.path.join(TOP, "build"), exist_ok=True)
    folders = sorted(d for d in os.listdir(os.path.join(TOP, "Tests"))
                     if d.endswith("Tests") and os.path.isdir(os.path.join(TOP, "Tests", d)))
    passed = failed = 0
    with open(os.path.join(TOP, LOG), "w") as log:
        status, text = swift(["build", "--build-tests"], log)
        if status:
            print("".join("    " + line + "\n" for line in text.splitlines()[-30:]), end="")
            print("Swift tests: 0 passed, 1 failed")
            sys.exit(1)
        for folder in folders:
            good, bad = run_folder(folder, log)
            passed += good
            failed += bad
    print("Swift tests: %d passed, %d failed" % (passed, failed))
    sys.exit(1 if failed or not passed else 0)


main()
