#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Write man pages from the headers' comments (reference.py), or look at those that are there.

man.py FOLDER           write FOLDER/man3, a page for what each comment is about and a link for each
                        further name, and for macros and inlines one to their header's page; FOLDER/man7,
                        a page for each header; and copy man/*.1 to FOLDER/man1
man.py --check FOLDER   has every exported function a page, and every name that the guides' programs use, is none
                        empty, has mandoc nothing to say?

The same headers give the same bytes: the date on the pages is SOURCE_DATE_EPOCH's, else DATE."""
import datetime
import glob
import os
import re
import shutil
import subprocess
import sys
import textwrap

import headers
import reference
import symbols

TOP = headers.TOP
DATE = datetime.date(2026, 11, 27)  # of the form of the pages
MARK = '.\\" SPDX-License-Identifier: GPL-2.0-only\n.\\" Written from the headers by scripts/man.py.'
WIDTH = 78
SECTIONS = {3: ("NAME", "SYNOPSIS", "DESCRIPTION", "SEE ALSO", "STANDARDS"), 7: ("NAME", "SYNOPSIS", "DESCRIPTION", "SEE ALSO")}
PUNCTUATION = ".,:;)?!"
MANUAL = {"free": 3, "malloc": 3, "main": None, "exit": 3, "fork": 2, "write": 2, "pthread_cancel": 3, "pthread_exit": 3,
          "pthread_setattr_default_np": None}
MACROS = re.compile(r"(?:%[A-Z]|[A-Z][a-z0-9]{1,2}|[A-Z][a-z])$")


def version():
    with open(os.path.join(TOP, "include", "tdpmmu", "types.h")) as file:
        return ".".join(re.findall(r"define TDPMMU_VERSION_(?:MAJOR|MINOR|PATCH)\s+(\d+)", file.read()))


def date():
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    if epoch and not re.fullmatch(r"\d{1,11}", epoch):
        sys.exit("man: SOURCE_DATE_EPOCH is no number of seconds since 1970: " + epoch)
    day = datetime.datetime.fromtimestamp(int(epoch), datetime.timezone.utc).date() if epoch else DATE
    return "%s %d, %d" % (day.strftime("%B"), day.day, day.year)


def escaped(text):
    """For a text line.  A name before () that is not marked up, as in an example, is no mistake."""
    text = re.sub(r"(?<=\w)\(\)", r"\&()", text.replace("\\", "\\e").replace("-", "\\-"))
    return "\\&" + text if text[:1] in (".", "'") else text


def argument(text):
    """Of a macro: quoted where it has blanks, and no macro itself."""
    text = text.replace("\\", "\\e").replace('"', "\\(dq").replace("-", "\\-")
    if MACROS.match(text) or text and text[0] in PUNCTUATION + "([|":
        text = "\\&" + text
    return '"%s"' % text if " " in text or not text else text


def wrapped(text):
    lines = textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False)
    return [escaped(line) for line in lines]


class Text:
    """Running text: words on text lines, marked words on macro lines."""

    def __init__(self, pages, page):
        self.pages, self.page = pages, page
        self.parameters = page.parameter_names() if page else ()
        self.referred = []

    def sentence(self, text):
        lines, held, after = [], "", ""

        def flush():
            nonlocal held
            if held.strip():
                lines.extend(wrapped(held.strip()))
            held = ""

        pieces = reference.inline(text, self.parameters)
        at = 0
        while at < len(pieces):
            kind, word = pieces[at]
            following = pieces[at + 1][1] if at + 1 < len(pieces) and pieces[at + 1][0] == "text" else ""
            macro = self._macro(kind, word)
            glued = re.match(r"[^\s%s]" % re.escape(PUNCTUATION), following) or at + 1 < len(pieces) and pieces[at + 1][0] != "text"
            opening = re.search(r"(\S*)$", held)[1]
            if macro is None or glued or opening.strip("(["):
                held += word + ("()" if kind == "function" else "")
                at += 1
                continue
            held = held[:len(held) - len(opening)]
            flush()
            closing = re.match(r"[%s]*" % re.escape(PUNCTUATION), following)[0]
            line = macro
            if opening:
                name, _, word = macro.partition(" ")
                line = " ".join([name, *opening, word])
            lines.append("." + " ".join([line, *closing]))
            if following:
                pieces[at + 1] = ("text", following[len(closing):])
            at += 1
        flush()
        return lines

    def _macro(self, kind, word):
        if kind == "function":
            page = self.pages.get(word)
            if page is not None and page is self.page:
                return "Fn " + word
            if page is not None or MANUAL.get(word):
                section = 3 if page is not None else MANUAL[word]
                self.referred.append((section, word))
                return "Xr %s %d" % (word, section)
            return "Fn " + word
        if kind == "parameter":
            return "Fa " + argument(word)
        if kind == "errno" and not word.startswith("-"):
            return "Er " + word
        if kind in ("constant", "code"):
            return ("Dv " if kind == "constant" else "Ql ") + argument(word)
        return None

    def blocks(self, blocks):
        """[(kind, [sentence or code])]"""
        lines, before = [], None
        for kind, said in blocks:
            if before == "item" and kind != "item":
                lines.append(".El")
            if kind == "code":
                lines += literal(said[0])
            else:
                if kind == "item" and before != "item":
                    lines.append(".Bl \\-bullet".replace("\\", ""))
                if kind == "item":
                    lines.append(".It")
                elif before is not None:
                    lines.append(".Pp")
                lines += [line for sentence in said for line in self.sentence(sentence)]
            before = kind
        return lines + ([".El"] if before == "item" else [])


def literal(text):
    return [".Bd -literal -offset 2n"] + [escaped(line.replace("\t", "    ")) for line in text.split("\n")] + [".Ed"]


def head(title, section, names, summary):
    lines = [*MARK.split("\n"), ".Dd " + date(), ".Dt %s %d" % (title.upper(), section), ".Os libtdpmmu " + version(), ".Sh NAME"]
    lines += [".Nm %s%s" % (name, " ," if name != names[-1] else "") for name in names]
    return lines + [".Nd " + escaped(summary)]


def library():
    return [".Sh LIBRARY", "KVM's TDP MMU in userspace", ".Pq libtdpmmu , Fl ltdpmmu"]


def see_also(references):
    """[(section, name)], without those before, in order."""
    ordered = sorted(set(references), key=lambda r: (r[0], r[1].lower()))
    return [".Sh SEE ALSO"] + [".Xr %s %d%s" % (name, section, " ," if (section, name) != ordered[-1] else "")
                               for section, name in ordered]


def prototype(function):
    lines = [".Ft " + argument(function.result()), ".Fo " + function.name]
    lines += [".Fa " + argument(declared) for _, _, declared in function.parameters()] or [".Fa void"]
    return lines + [".Fc"]


def diagnostics(page):
    if page.follows_ioctl():
        return wrapped("A pointer or a lock that breaks the contract changes nothing and gives a warning; "
                       "bad values are answered by the errno alone, as by the ioctl;")
    return ["What breaks the contract changes nothing and gives a warning;"]


def function_page(page, overview, pages, units):
    text = Text(pages, page)
    lines = head(page.names[0], 3, page.names, page.summary()) + library() + [".Sh SYNOPSIS", ".In " + page.header.program_includes]
    for function in page.functions:
        lines += prototype(function)
    lines += [".Sh DESCRIPTION"]
    lines += text.blocks([(kind, said) for kind, said in page.description] or [("text", page.returned())])
    for note in page.notes:
        lines += [".Pp"] + text.blocks([(kind, headers.sentences(said)) for kind, said in note.blocks()])
    measured = [(name, units[re.sub(r"[ *]|const", "", kind)]) for kind, name, _ in page.parameters()
                if re.sub(r"[ *]|const", "", kind) in units]
    if measured:
        lines += [".Ss Units", ".Bl -tag -width Ds"]
        for name, unit in measured:
            lines += [".It Fa " + argument(name), *text.sentence(unit[:1].upper() + unit[1:] + ".")]
        lines += [".El"]
        if {"start", "end"} <= {name for name, _ in measured}:
            lines += ["A range is", ".Fa [ start , end ) ,", "the end exclusive."]
    lines += [".Ss Locks and RCU", *[line for sentence in page.what_is_held() for line in text.sentence(sentence)]]
    if page.returned():
        lines += [".Sh RETURN VALUES", *[line for sentence in page.returned() for line in text.sentence(sentence)]]
    if page.parameters():
        lines += [".Sh DIAGNOSTICS", *diagnostics(page), "see", ".Xr tdpmmu 7 ."]
    if page.errors():
        lines += [".Sh ERRORS", ".Bl -tag -width Er"]
        for code, reasons in page.errors():
            lines += [".It Bq Er " + code, *[line for reason in reasons for line in text.sentence(reason)]]
        lines += [".El"]
    standards = [line for sentence in page.followed() for line in text.sentence(sentence)]
    own = {(3, name) for name in page.names}
    lines += see_also([r for r in text.referred if r not in own] + [(7, overview.title), (7, "tdpmmu")])
    return lines + [".Sh STANDARDS"] + standards


def declarations(groups, text):
    lines, heading = [], None
    for comment, members, _ in groups:
        if lines and (comment is not None or members[0].heading != heading):
            lines.append(".Pp")
        if members[0].heading != heading:
            heading = members[0].heading
            lines += [".Sy " + argument(heading)] + ([".Pp"] if comment is not None else [])
        if comment is not None:
            lines += text.blocks([(kind, headers.sentences(said) if kind != "code" else [said]) for kind, said in comment.blocks()])
        lines += literal("\n".join(reference.synopsis(member) for member in members))
    return lines


def overview_page(overview, overviews, pages):
    text = Text(pages, None)
    header = overview.header
    about = [(kind, headers.sentences(said) if kind != "code" else [said]) for kind, said in header.about.blocks()]
    lines = head(overview.title, 7, [overview.title], overview.summary())
    lines += [".Sh SYNOPSIS", ".In " + header.include, ".Sh DESCRIPTION"]
    lines += text.blocks(about)
    for note in overview.notes:
        lines += [".Pp"] + text.blocks([(kind, headers.sentences(said)) for kind, said in note.blocks()])
    if header.name == "tdpmmu":
        lines += [".Ss Headers", ".Bl -tag -width Ds"]
        for other in overviews:
            if other is not overview:
                lines += [".It Xr %s 7" % other.title, *text.sentence(other.summary() + ".")]
        lines += [".El"]
    if overview.pages:
        lines.append(".Ss Functions")
        for heading, members in reference.under_headings(overview.pages, lambda page: page.heading):
            lines += [".Pp"] if lines[-1] == ".El" else []
            lines += [".Sy " + argument(heading)] if heading else []
            lines.append(".Bl -tag -width Ds")
            for page in members:
                lines += [".It " + " , ".join("Xr %s 3" % name for name in page.names), *text.sentence(page.summarised())]
            lines.append(".El")
    if overview.types:
        lines += [".Ss Types", *declarations(overview.types, text)]
    if overview.others:
        lines += [".Ss Macros and inline functions", *declarations(overview.others, text)]
    related = [(7, other.title) for other in overviews if other is not overview
               and (header.name == "tdpmmu" or other.header.name in header.included or header.name in other.header.included)]
    return lines + see_also([*text.referred, *related, (7, "tdpmmu")] if header.name != "tdpmmu" else related)


def write(folder):
    overviews, pages = reference.load()
    units = reference.units()
    for section in (1, 3, 7):
        os.makedirs(os.path.join(folder, "man%d" % section), exist_ok=True)
    forget_old(folder)
    overview_of = {page.names[0]: overview for overview in overviews for page in overview.pages}
    for page in dict.fromkeys(pages.values()):
        put(folder, 3, page.names[0], function_page(page, overview_of[page.names[0]], pages, units))
        for name in page.names[1:]:
            put(folder, 3, name, [".so man3/%s.3" % page.names[0]])
    for overview in overviews:
        put(folder, 7, overview.title, overview_page(overview, overviews, pages))
    for name, overview in reference.overview_of_names(overviews, pages).items():
        put(folder, 3, name, [".so man7/%s.7" % overview.title])
    for path in sorted(glob.glob(os.path.join(TOP, "man", "*.1"))):
        shutil.copyfile(path, os.path.join(folder, "man1", os.path.basename(path)))


def forget_old(folder):
    """Pages of names that are gone.  Nothing is removed that this program has not written."""
    for path in glob.glob(os.path.join(folder, "man[37]", "*.[37]")):
        with open(path, errors="replace") as file:
            if file.read(300).startswith((MARK, ".so man3/", ".so man7/")):
                os.remove(path)


def put(folder, section, name, lines):
    with open(os.path.join(folder, "man%d" % section, "%s.%d" % (name, section)), "w") as file:
        file.write("\n".join(lines) + "\n")


def is_whole(path, section):
    """What is missing of a page, or None."""
    with open(path) as file:
        text = file.read()
    if text.startswith(".so "):
        target = os.path.join(os.path.dirname(os.path.dirname(path)), text[4:].strip())
        return None if os.path.exists(target) else "leads to %s, which is not there" % text[4:].strip()
    for title in SECTIONS[section]:
        found = re.search(r"^\.Sh %s\n(.*?)(?=^\.Sh |\Z)" % title, text, re.M | re.S)
        if not found or not found[1].strip():
            return "has nothing under %s" % title
    return None


def lint(folder):
    """What mandoc says, by line; None where there is no mandoc."""
    if not shutil.which("mandoc"):
        return None
    paths = [path for path in sorted(glob.glob("man[137]/*", root_dir=folder))
             if not open(os.path.join(folder, path)).read(4).startswith(".so ")]
    done = subprocess.run(["mandoc", "-Tlint", "-Wstyle", *paths], cwd=folder, capture_output=True, text=True,
                          env=dict(os.environ, MANPATH=os.path.abspath(folder) + ":"))
    # Pages that are beside these and in no index of mandoc's, and the system's, which need not be installed.
    others = re.compile(r"outdated mandoc\.db lacks|referenced manual not found: Xr (%s) " % "|".join(filter(MANUAL.get, MANUAL)))
    return [line for line in (done.stdout + done.stderr).splitlines() if line and not others.search(line)]


def used_by_guides():
    """Functions, macros and inlines of the headers that programs in README.md and the tutorial use."""
    programs = ""
    for path in ("README.md", "docs/TUTORIAL.md"):
        with open(os.path.join(TOP, path)) as file:
            programs += "".join(re.findall(r"```c\n(.*?)```", file.read(), re.S))
    declared = {d.name for h in headers.all_headers() for d in h.declarations if d.kind in ("function", "macro")}
    return declared & set(re.findall(r"\w+", headers.without_comments(programs)))


def check(folder):
    names = symbols.declared() - symbols.VARIABLES | used_by_guides()
    problems, passed = [], 0
    for section, wanted in ((3, names), (7, {"tdpmmu"} | {"tdpmmu_" + h.name for h in headers.all_headers() if h.name != "tdpmmu"})):
        for name in sorted(wanted):
            path = os.path.join(folder, "man%d" % section, "%s.%d" % (name, section))
            problem = is_whole(path, section) if os.path.exists(path) else "has no page"
            problems += ["%s(%d) %s" % (name, section, problem)] if problem else []
            passed += not problem
    said = lint(folder)
    if said is None:
        print("man: there is no mandoc here (Debian: mandoc): the pages' form was not looked at")
    problems += said or []
    for problem in problems:
        print("man: " + problem, file=sys.stderr)
    print("man: %d passed, %d failed" % (passed, len(problems)))
    return 1 if problems or not passed else 0


def main():
    arguments = sys.argv[1:]
    if len(arguments) == 2 and arguments[0] == "--check":
        sys.exit(check(arguments[1]))
    if len(arguments) != 1 or arguments[0].startswith("-"):
        sys.exit(__doc__)
    try:
        write(arguments[0])
    except OSError as error:
        sys.exit("man: %s: %s" % (error.filename, error.strerror))


if __name__ == "__main__":
    main()
