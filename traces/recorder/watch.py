#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""watch.py SERIAL LIMIT STILL COMMAND...: run an emulator until its machine has ended.

What the machine writes to its serial line, the file SERIAL, is printed.  The emulator is
ended when the machine says so, after LIMIT seconds, or when no line came for STILL seconds.
Returns 0 if every scenario was played to its end.
"""
import ctypes
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time

END = "== end"
PR_SET_PDEATHSIG = 1
POWER_OFF_SECONDS = 3  # Bochs does not end by itself


class Emulator:
    """A process with a terminal of its own, which somebody has to read: Bochs blocks otherwise."""

    def __init__(self, command):
        self.terminal, slave = pty.openpty()
        libc = ctypes.CDLL(None)
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
            env=dict(os.environ, TERM="xterm", LC_ALL="C"),
            preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL))
        os.close(slave)
        self.screen = None  # a second one, which Bochs opens for the machine's display
        self.said = b""

    def is_running(self):
        return self.process.poll() is None

    def drain(self, seconds):
        """Read whatever comes within that time."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            terminals = [fd for fd in (self.terminal, self.screen) if fd is not None]
            if not select.select(terminals, [], [], left)[0] and not self.is_running():
                return
            for terminal in terminals:
                self.read(terminal)

    def read(self, terminal):
        if not select.select([terminal], [], [], 0)[0]:
            return
        try:
            data = os.read(terminal, 65536)
        except OSError:  # the other end is closed
            time.sleep(0.1)
            return
        if terminal == self.screen:
            return
        self.said = (self.said + data)[-4000:]
        opened = re.search(rb'connected to screen "(/dev/pts/\d+)"', self.said)
        if opened and self.screen is None:
            self.screen = os.open(opened.group(1), os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)

    def end(self):
        self.process.kill()  # Bochs heeds no other signal
        self.process.wait()

    def last_words(self):
        return self.said.decode(errors="replace").strip().replace("\r", "")


class SerialLine:
    """The lines that were written to a file since the last look."""

    def __init__(self, path):
        self.path, self.position, self.rest = path, 0, b""

    def lines(self):
        try:
            with open(self.path, "rb") as file:
                file.seek(self.position)
                data = file.read()
        except FileNotFoundError:
            return []
        self.position += len(data)
        *lines, self.rest = (self.rest + data).split(b"\n")
        return [line.decode(errors="replace").rstrip() for line in lines]


class Progress:
    """Where the machine is, by what it said."""

    def __init__(self):
        self.scenario, self.last, self.failed, self.has_ended = "the boot", "", [], False

    def note(self, line):
        self.last = line
        if line == END:
            self.has_ended = True
        elif line.startswith("== "):
            self.scenario = line[3:]
        elif re.fullmatch(r" +exit [1-9]\d*", line):
            self.failed.append(self.scenario)

    @property
    def place(self):
        return f"in {self.scenario}, last line: {self.last or '(none)'}"


def watch(emulator, serial, progress, limit, still):
    """None when the machine has come to its end, else what is wrong."""
    started = heard = time.monotonic()
    while True:
        running = emulator.is_running()
        emulator.drain(0.3)
        for line in serial.lines():
            heard = time.monotonic()
            print(line, flush=True)
            progress.note(line)
            if "Kernel panic" in line:
                return f"the kernel panicked {progress.place}"
        if progress.has_ended:
            return None
        if not running:
            return f"the emulator ended {progress.place}\n{emulator.last_words()}"
        if time.monotonic() - started > limit:
            return f"not done after {limit} s: {progress.place}"
        if time.monotonic() - heard > still:
            return f"stands still, no line for {still} s: {progress.place}"


def main():
    serial, limit, still, *command = sys.argv[1:]
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(1))
    emulator, progress = Emulator(command), Progress()
    try:
        wrong = watch(emulator, SerialLine(serial), progress, int(limit), int(still))
        if not wrong:
            emulator.drain(POWER_OFF_SECONDS)
    finally:
        emulator.end()
    if not wrong and progress.failed:
        wrong = "failed: " + ", ".join(progress.failed)
    if wrong:
        sys.exit(f"record.sh: {wrong}")


if __name__ == "__main__":
    main()
