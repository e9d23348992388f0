#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Replace an ELF file's run path by the way from its folder to the library's.
Usage: set-rpath.py FILE FOLDER_OF_FILE FOLDER_OF_LIBRARY

The string is overwritten in place, so the new path must not be longer.
"""
import os
import re
import subprocess
import sys


def main():
    path, here, there = sys.argv[1:]
    wanted = os.path.join("$ORIGIN", os.path.relpath(there, here)).encode()
    dynamic = subprocess.run(["readelf", "-d", path], check=True, capture_output=True,
                             text=True).stdout
    found = re.search(r"\((?:RUNPATH|RPATH)\).*\[(.*)\]", dynamic)
    if not found:
        sys.exit("set-rpath.py: %s has no run path" % path)
    old = found.group(1).encode()
    if len(wanted) > len(old):
        sys.exit("set-rpath.py: no room for the run path %s" % wanted.decode())
    with open(path, "rb") as file:
        content = file.read()
    if content.count(old + b"\0") != 1:
        sys.exit("set-rpath.py: cannot tell where the run path is")
    content = content.replace(old + b"\0", wanted.ljust(len(old) + 1, b"\0"))
    with open(path, "wb") as file:
        file.write(content)


main()
