# SPDX-License-Identifier: GPL-2.0-only
"""Cuts functions, macros and structs by name out of the kernel's files, as they are."""
import re

KEYWORD = re.compile(r"^(static|inline|extern|int|void|bool|u8|u32|u64|s64|gfn_t|hpa_t|long|unsigned|struct|union|enum|"
                     r"const|kvm_pfn_t|__always_inline|noinline|[a-z_]+_t)\b")


class Lacks(Exception):
    """The tree has no such thing."""


class Piece:
    def __init__(self, name, line, text, prototype):
        self.name, self.line, self.text, self.prototype = name, line, text, prototype


class SourceFile:
    def __init__(self, path, label):
        self.label = label
        with open(path, errors="replace") as file:
            self.lines = file.read().split("\n")

    def cut(self, name):
        try:
            return self._cut(name)
        except IndexError:
            raise Lacks("the end of " + name) from None

    def _cut(self, name):
        if name.startswith("#"):
            return self._macro(name[1:])
        if name.startswith("struct:"):
            return self._braces(re.compile(r"^struct %s \{" % re.escape(name[7:])), name)
        if name.startswith("typedef:"):
            return self._typedef(name[8:])
        return self._function(name)

    def _piece(self, name, first, last, prototype=None):
        text = "\n".join(self.lines[first:last + 1])
        return Piece(name, first, '#line %d "%s"\n%s\n' % (first + 1, self.label, text), prototype)

    def _macro(self, name):
        for first, line in enumerate(self.lines):
            if re.match(r"#\s*define %s\b" % re.escape(name), line):
                last = first
                while self.lines[last].endswith("\\"):
                    last += 1
                return self._piece(name, first, last)
        raise Lacks("#define " + name)

    def _braces(self, start, name):
        for first, line in enumerate(self.lines):
            if start.match(line):
                last = first
                while not self.lines[last].startswith("}"):
                    last += 1
                return self._piece(name, first, last)
        raise Lacks(name.replace(":", " "))

    def _typedef(self, name):
        for at, line in enumerate(self.lines):
            if line.startswith("typedef") and re.search(r"\b%s\b" % re.escape(name), line):
                first = at
                while not self.lines[at].rstrip().endswith(";"):
                    at += 1
                return self._piece(name, first, at)
            if re.search(r"\b%s\b.*;\s*$" % re.escape(name), line) and not line[:1].isspace():
                first = at
                while not self.lines[first].startswith("typedef"):
                    first -= 1
                    if first < 0 or at - first > 30:
                        break
                else:
                    return self._piece(name, first, at)
        raise Lacks("typedef " + name)

    def _function(self, name):
        pattern = re.compile(r"(^|[\s*])%s\(" % re.escape(name))
        for at, line in enumerate(self.lines):
            if line[:1] in ("\t", " ", "#", "/", "*", "") or not pattern.search(line) or line.rstrip().endswith(";"):
                continue
            brace = at
            while brace < len(self.lines) and self.lines[brace] != "{":
                if self.lines[brace].rstrip().endswith(";") or self.lines[brace] == "}":
                    brace = len(self.lines)
                brace += 1
            if brace >= len(self.lines):
                continue
            last = brace
            while self.lines[last] != "}":
                last += 1
            first = at
            # The type may stand on lines of its own.
            while not KEYWORD.match(self.lines[first]) or pattern.match(self.lines[first]):
                first -= 1
            while first and KEYWORD.match(self.lines[first - 1]) and "(" not in self.lines[first - 1] \
                    and ";" not in self.lines[first - 1]:
                first -= 1
            return self._piece(name, first, last, " ".join(
                part.strip() for part in self.lines[first:brace]).strip() + ";")
        raise Lacks(name + "()")


def read_list(path):
    """[(into, file, [names])] of functions.txt."""
    found, into, file = [], None, None
    with open(path) as lines:
        for line in lines:
            line = line.split("# ")[0].rstrip() if line.startswith("#") else line.rstrip()
            if not line:
                continue
            if line.startswith("into "):
                into = line.split()[1]
            elif line[0] != " ":
                file = line
                found.append((into, file, []))
            else:
                found[-1][2].extend(line.split())
    return found
