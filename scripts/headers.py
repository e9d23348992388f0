# SPDX-License-Identifier: GPL-2.0-only
"""The public headers as their readers see them: comments, and what each is about.

A comment at a line's beginning is about the declarations that follow, until the next such
comment.  One that ends in a row of dashes is a heading; one that an empty line follows is a
note, about all that comes after it in the header."""
import glob
import os
import re

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
INCLUDE = os.path.join(TOP, "include")
ATTRIBUTE = re.compile(r"\s*__attribute__\s*\(\((?:[^()]|\([^()]*\))*\)\)|\s*__asm__\s*\([^()]*\)")
PIECE = re.compile(r"""(?P<comment>^/\*.*?\*/[ \t]*\n?)
                     |(?P<directive>^[ \t]*\#(?:[^\n]*\\\n)*[^\n]*\n)
                     |(?P<blank>^[ \t]*\n)
                     |(?P<between>^TDPMMU_(?:BEGIN|END)_DECLS[ \t]*\n)
                     |(?P<code>^[^\n]*\n)""", re.S | re.M | re.X)
SPDX = re.compile(r"/\* SPDX-License-Identifier: [^\n]*\*/\n")


class Comment:
    def __init__(self, raw, line):
        self.line = line
        text = re.sub(r"\s*\*+/\s*$", "", re.sub(r"^/\*+[ \t]?\n?", "", raw))
        self.lines = [re.sub(r"^\s*\*(?: |$)", "", line).rstrip() for line in text.split("\n")]
        self.is_note = False

    @property
    def is_heading(self):
        return len(self.lines) == 1 and re.search(r"-{3,}$", self.lines[0])

    @property
    def heading(self):
        return self.lines[0].strip("- ")[:1].upper() + self.lines[0].strip("- ")[1:]

    @property
    def is_private(self):
        return re.match(r"Private\b", self.lines[0]) is not None

    def blocks(self):
        """(kind, text) of each paragraph ("text"), item of a list ("item") and example ("code")."""
        blocks, kind, held = [], None, []

        def close():
            if held:
                blocks.append((kind, "\n".join(held)))
            held.clear()

        for line in self.lines:
            if not line:
                if kind != "code":
                    close()
                    kind = None
                elif held:
                    held.append("")
            elif line.startswith("    ") and kind in (None, "code") or kind == "code" and line.startswith("    "):
                kind = "code"
                held.append(line[4:])
            elif re.match(r" ?- ", line):
                close()
                kind = "item"
                held.append(re.sub(r"^ ?- ", "", line))
            else:
                if kind == "code" or kind == "item" and not line.startswith(" "):
                    close()
                    kind = None
                kind = kind or "text"
                held.append(line.strip())
        close()
        return [(kind, text.rstrip("\n")) for kind, text in blocks]

    def sentences(self):
        return [s for kind, text in self.blocks() if kind != "code" for s in sentences(text)]


def sentences(text):
    """Of one paragraph: two blanks, a line's end or a capital show that a full stop is one."""
    pieces = re.split(r"(?<=[.?!])(?:  +|\n+)|(?<=[.?!][\")])(?:  +|\n+)|(?<=[.?!]) (?=[A-Z])", text)
    return [" ".join(piece.split()) for piece in pieces if piece.strip()]


class Declaration:
    """kind: function, macro, type, constant or variable."""

    def __init__(self, kind, name, text, line):
        self.kind, self.name, self.text, self.line = kind, name, text, line
        self.comment = None        # what is about it
        self.is_adjacent = False   # no empty line between the two
        self.notes = []
        self.heading = None

    @property
    def has_body(self):
        return self.kind == "function" and "{" in self.text

    @property
    def prototype(self):
        """On one line, without body, attributes and words of the compiler's."""
        text = without_comments(self.text.partition("{")[0]).rstrip("; \n")
        return " ".join(re.sub(r"^(static inline|extern inline|extern|static)\s+", "", ATTRIBUTE.sub("", text)).split())

    def result(self):
        return self.prototype.partition(self.name)[0].strip()

    def parameters(self):
        """(type, name, as it is declared) of each."""
        inside = self.prototype.partition(self.name)[2].strip()[1:-1]
        found = []
        for piece in split_arguments(inside):
            if piece == "void":
                continue
            name = re.search(r"\(\*(\w+)\)", piece) or re.search(r"(\w+)(?:\[\w*\])?$", piece)
            found.append((piece[:name.start(1)].strip() if "(*" not in piece else piece, name[1], piece))
        return found


def split_arguments(text):
    pieces, depth, held = [], 0, ""
    for char in text:
        depth += (char in "([{") - (char in ")]}")
        if char == "," and depth == 0:
            pieces.append(held.strip())
            held = ""
        else:
            held += char
    return pieces + ([held.strip()] if held.strip() else [])


def without_comments(text):
    return re.sub(r"/\*.*?\*/", "", text, flags=re.S)


def declaration(text, line):
    """Of a declaration's source, or None for what no reader asks for."""
    bare = " ".join(ATTRIBUTE.sub("", without_comments(text)).split())
    if bare.startswith(("static_assert", "_Static_assert")):
        return None
    function_type = re.match(r"typedef [^{;]*?\(\*(\w+)\)\(", bare)
    if function_type:
        return Declaration("type", function_type[1], text, line)
    if bare.startswith("typedef"):
        return Declaration("type", re.search(r"(\w+)(?:\[\w*\])? ?;$", bare)[1], text, line)
    composed = re.match(r"(struct|union|enum) (\w+) ?([{;])", bare)
    if composed:
        return None if composed[3] == ";" else Declaration("type", "%s %s" % composed.group(1, 2), text, line)
    constant = re.match(r"static const [\w\s*]+?\b(\w+) ?=", bare)
    if constant:
        return Declaration("constant", constant[1], text, line)
    function = re.match(r"[\w\s*]+?\b(\w+) ?\(", bare)
    if function:
        return Declaration("function", function[1], text, line)
    variable = re.match(r"extern [\w\s*]+?\b(\w+) ?;$", bare)
    return Declaration("variable", variable[1], text, line) if variable else None


def is_complete(text):
    """Has a declaration come to its end?"""
    bare = re.sub(r'"(?:\\.|[^"\\])*"', '""', without_comments(text))
    if "/*" in bare or bare.count("{") > bare.count("}") or bare.count("(") > bare.count(")"):
        return False
    bare = bare.rstrip()
    return bare.endswith(";") or bare.endswith("}") and re.search(r"\)\s*\{", bare) is not None


def macro(text, line):
    name = re.match(r"\s*#\s*define\s+(\w+)", text)
    return Declaration("macro", name[1], text.rstrip("\n"), line) if name else None


class Header:
    def __init__(self, path):
        self.path = path                                # of the file
        self.include = os.path.relpath(path, INCLUDE)   # as a program names it
        self.name = os.path.basename(path)[:-2]
        self.about = None
        self.comments, self.declarations = [], []
        with open(path) as file:
            text = file.read()
        self.included = {os.path.basename(name)[:-2] for name in re.findall(r'^#include "([^"]+)"', text, re.M)}
        self._read(text)

    def _read(self, text):
        comment, notes, heading, adjacent, held, start = None, [], None, False, "", 0
        guard = re.search(r"#ifndef (\w+_H)\n#define \1\n", text)
        for piece in PIECE.finditer(text):
            line = text.count("\n", 0, piece.start()) + 1
            if held and not piece["directive"]:
                held += piece[0]
            elif piece["comment"]:
                if SPDX.match(piece[0]):
                    continue
                found = Comment(piece[0], line)
                self.comments.append(found)
                adjacent = True
                if found.is_heading:
                    comment, heading = None, found.heading
                    continue
                if self.about is None and (not guard or piece.start() < guard.start()):
                    self.about = found
                    continue
                comment = found
                rest = text[piece.end():]
                if rest.startswith("\n"):
                    comment.is_note, comment = True, None
                    notes = notes + [found]
                continue
            elif piece["blank"]:
                adjacent = False
                continue
            elif piece["directive"]:
                found = macro(piece[0], line)
                if found and not (guard and found.name == guard[1]):
                    self._add(found, comment, adjacent, notes, heading)
                continue
            elif piece["between"]:
                continue
            else:
                held, start = piece[0], line
            if is_complete(held):
                found = declaration(held.rstrip("\n"), start)
                if found:
                    self._add(found, comment, adjacent, notes, heading)
                held = ""

    def _add(self, found, comment, adjacent, notes, heading):
        found.comment, found.is_adjacent, found.notes, found.heading = comment, adjacent, notes, heading
        self.declarations.append(found)

    def functions(self):
        return [d for d in self.declarations if d.kind == "function"]


def all_headers():
    """tdpmmu.h first.  program_includes: what a program includes to have a header, tdpmmu.h if it can be that."""
    paths = glob.glob(os.path.join(INCLUDE, "*.h")) + sorted(glob.glob(os.path.join(INCLUDE, "tdpmmu", "*.h")))
    found = {header.name: header for header in map(Header, paths)}
    reached, todo = set(), ["tdpmmu"]
    while todo:
        name = todo.pop()
        if name in found and name not in reached:
            reached.add(name)
            todo += found[name].included
    for header in found.values():
        header.program_includes = "tdpmmu.h" if header.name in reached else header.include
    return list(found.values())
