#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""What is installed beside tdpmmuctl, from the tool's own description of its options: completions for bash, zsh and
fish, and a man page, which therefore says what --help says.

Usage: tool_man.py TOOL FOLDER   (FOLDER/completions/..., FOLDER/man/man1/tdpmmuctl.1)"""
import json
import os
import re
import subprocess
import sys
import textwrap
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
COMPLETIONS = {"bash": "tdpmmuctl.bash", "zsh": "_tdpmmuctl", "fish": "tdpmmuctl.fish"}
EXAMPLES = [
    ("Replay all recorded traces, and see whether the library does what the kernel did:", "tdpmmuctl replay traces/*.txt.gz"),
    ("The tables at the second dump of a trace, as a page for a browser:", "tdpmmuctl tables --at 2 --format html -o tables.html trace.txt.gz"),
    ("What changed between two dumps:", "tdpmmuctl tables --at 2 --beside 3 trace.txt.gz"),
    ("How fast events come, while a program records them:", "tdpmmuctl watch events"),
    ("What would be run as root to record process 1234:", "tdpmmuctl record --pid 1234 --print-script"),
]


def output(tool, *arguments):
    return subprocess.run([tool, *arguments], check=True, capture_output=True, text=True).stdout


def escaped(text):
    """Text in mdoc."""
    return text.replace("\\", "\\e").replace("-", "\\-").replace("…", "...")


def text_lines(text):
    """Lines that are not too long, of which none looks like a macro."""
    return [re.sub(r"^([.'])", r"\\&\1", line) for line in textwrap.wrap(escaped(text), 78, break_on_hyphens=False)]


def sentence_lines(sentence):
    """With a macro for each function that it names."""
    lines = []
    for number, piece in enumerate(re.split(r"(\b\w+\(\)[.,;:]?)", sentence)):
        if number % 2:
            name, behind = piece.split("()")
            lines.append(".Fn %s%s" % (name, " " + behind if behind else ""))
        else:
            lines += text_lines(piece.strip())
    return lines


def words(text):
    """Each sentence begins a line, as mdoc wants it."""
    lines = []
    for number, paragraph in enumerate(re.split(r"\n\s*\n", text.strip())):
        if number:
            lines.append(".Pp")
        for sentence in re.split(r"(?<=[.:]) (?=[A-Z])", " ".join(paragraph.split())):
            lines += sentence_lines(sentence)
    return lines


def flag(name):
    return ("Fl \\-" if name["kind"] == "long" else "Fl ") + name["name"].replace("-", "\\-")


def shown(command):
    return [one for one in command.get("arguments", []) if one.get("shouldDisplay")]


def synopsis(command, path):
    lines = [".Nm Cm %s" % path]
    # What every command has in common has a paragraph of its own.
    for one in shown(command):
        if one.get("sectionTitle") or one["valueName"] in ("help", "version"):
            continue
        if one["kind"] == "positional":
            macro = "Ar %s%s" % (one["valueName"].rstrip("s"), " ..." if one["isRepeating"] else "")
        else:
            macro = " | ".join(flag(name) for name in one["names"])
            if one["kind"] == "option":
                macro += " Ar " + one["valueName"].replace("|", " | ")
        lines.append(".%s%s" % ("Op " if one["isOptional"] and one["kind"] != "positional" else "", macro))
    if any(one.get("sectionTitle") for one in shown(command)):
        lines.append(".Op Ar machine options")
    return lines


def option(one):
    if one["kind"] == "positional":
        head = ".It Ar " + one["valueName"].rstrip("s") + (" ..." if one["isRepeating"] else "")
    else:
        head = ".It " + " , ".join(flag(name) for name in one["names"])
        if one["kind"] == "option":
            head += " Ar " + one["valueName"].replace("|", " | ")
    lines = [head] + words(one.get("abstract", ""))
    if one.get("defaultValue") and one["kind"] == "option":
        lines.append("The default is %s." % escaped(one["defaultValue"]))
    return lines


def options(arguments):
    lines = []
    for one in arguments:
        lines += option(one)
    return [".Bl -tag -width Ds"] + lines + [".El"] if lines else []


def section(command):
    own = [one for one in shown(command) if not one.get("sectionTitle") and one["valueName"] not in ("help", "version")]
    return [".Ss %s" % command["commandName"]] + words(command["abstract"]) + [".Pp"] + words(command.get("discussion", "")) + options(own)


def machine(commands):
    """Options that have a title are the same in all commands."""
    seen, found = set(), []
    for command in commands:
        for one in shown(command):
            if one.get("sectionTitle") and one["valueName"] + str(one["names"]) not in seen:
                seen.add(one["valueName"] + str(one["names"]))
                found.append(one)
    return [".Ss machine options"] + words("The machine that a trace was recorded on, where the trace does not say so, or whatever it says.") + options(found)


def page(description):
    top = description["command"]
    commands = [one for one in top["subcommands"] if one.get("shouldDisplay") and one["commandName"] != "help"]
    lines = [".\\\" SPDX-License-Identifier: GPL-2.0-only", ".\\\" Made by scripts/tool_man.py from what the tool says of itself.",
             ".Dd %s" % date(), ".Dt TDPMMUCTL 1", ".Os", ".Sh NAME", ".Nm tdpmmuctl", ".Nd " + top["abstract"][0].lower() + top["abstract"][1:].rstrip("."),
             ".Sh SYNOPSIS"]
    for command in commands:
        lines += synopsis(command, command["commandName"])
    lines += [".Sh DESCRIPTION"] + words(top["discussion"])
    for command in commands:
        lines += section(command)
    lines += machine(commands)
    lines += [".Sh EXIT STATUS", ".Bl -tag -width Ds", ".It 0"] + words("What was asked for was done, and nothing differs.")
    lines += [".It 1"] + words("Something differs, or output cannot be written.")
    lines += [".It 2"] + words("Bad input: one line on standard error names the file, the line and what is wrong.")
    lines += [".It 64"] + words("Wrong usage.") + [".El", ".Sh EXAMPLES"]
    for what, how in EXAMPLES:
        lines += words(what) + [".Dl " + escaped(how)] + ([".Pp"] if how != EXAMPLES[-1][1] else [])
    lines += [".Sh SEE ALSO"] + words("The keys of what --json prints stand in docs/TDPMMUCTL.md, beside the library's other guides.")
    return "\n".join(lines) + "\n"


def date():
    """Of the version, not of the day: two builds give one page."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    if epoch and not re.fullmatch(r"[0-9]{1,11}", epoch):
        sys.exit("tool_man.py: SOURCE_DATE_EPOCH is no number of seconds since 1970: " + epoch)
    if not epoch:
        done = subprocess.run(["git", "log", "-1", "--format=%ct", "--", "Sources/tdpmmuctl"], cwd=TOP, capture_output=True, text=True)
        epoch = done.stdout.strip()
    if not epoch:
        # An unpacked archive: its files have the day of what was packed.
        folder = os.path.join(TOP, "Sources", "tdpmmuctl")
        epoch = max(os.path.getmtime(os.path.join(folder, name)) for name in os.listdir(folder))
    moment = time.gmtime(int(epoch))
    return "%s %d, %d" % (time.strftime("%B", moment), moment.tm_mday, moment.tm_year)


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(path + ".new", path)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    tool, folder = sys.argv[1:]
    try:
        for shell, name in COMPLETIONS.items():
            write(os.path.join(folder, "completions", name), output(tool, "--generate-completion-script", shell))
        write(os.path.join(folder, "man", "man1", "tdpmmuctl.1"), page(json.loads(output(tool, "--experimental-dump-help"))))
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit("tool_man.py: %s" % error)


main()
