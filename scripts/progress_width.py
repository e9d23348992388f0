#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Runs a command whose stderr is a terminal of so many columns: no line that it overwrites may be wider, and some
must be there.
Usage: progress_width.py COLUMNS COMMAND..."""
import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios

columns = int(sys.argv[1])
ours, theirs = pty.openpty()
fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
process = subprocess.Popen(sys.argv[2:], stdout=subprocess.DEVNULL, stderr=theirs)
os.close(theirs)
written = b""
while True:
    try:
        piece = os.read(ours, 4096)
    except OSError:  # All who wrote have gone.
        break
    if not piece:
        break
    written += piece
lines = [line.decode() for line in written.split(b"\r\x1b[K") if line]
wide = [line for line in lines if len(line) >= columns]
if process.wait() != 0 or not lines or wide:
    sys.exit(f"status {process.returncode}, {len(lines)} lines of progress, too wide: {wide[:1]}")
