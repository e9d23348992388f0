#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Print the README's C example, the one block that begins with ```c."""
import os
import re
import sys

LIMIT_LINES = 25


def main():
    top = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    with open(os.path.join(top, "README.md")) as file:
        blocks = re.findall(r"^```c\n(.*?)^```$", file.read(), re.M | re.S)
    if len(blocks) != 1:
        sys.exit("readme-example.py: README.md has %d C blocks, not one" % len(blocks))
    if blocks[0].count("\n") > LIMIT_LINES:
        sys.exit("readme-example.py: the example has more than %d lines" % LIMIT_LINES)
    print(blocks[0], end="")


main()
