#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The binary interface that is kept, in abi/:
libtdpmmu-1.abi         functions, variables and types as the C headers give them, by libabigail
libtdpmmu-1.constants   the values of the headers' macros and enumerators, and the sizes of their types

abi.py check LIBRARY   Are headers and library still so?  One line for each thing that changed.
abi.py write           Renews both.  What today's programs would not survive is only written with BREAK=1.

The shipped library has no debug information that a C compiler wrote.  So libabigail looks at a stub: a library
of the headers' own declarations, each with an empty body, under the same version script."""
import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree

import symbols

ABI = os.path.join(symbols.TOP, "abi", "libtdpmmu-1.abi")
CONSTANTS = os.path.join(symbols.TOP, "abi", "libtdpmmu-1.constants")
SONAME = "libtdpmmu.so.1"
NO_ABIGAIL = "libabigail's abidw and abidiff are not here (Debian: abigail-tools)"
# The version says that it changed; it is no part of the interface.
NO_CONSTANT = re.compile(r"TDPMMU_VERSION_")
# How many there are, or all of them: those that a program of today knows stay what they were.
HOW_MANY = re.compile(r"\w+_(COUNT|ALL|TRACEPOINTS)$")
ATTRIBUTE = r"__attribute__\s*\(\((?:[^()]|\([^()]*\))*\)\)"
BROKEN, ADDED = "changed", "added"  # would a program of today not run as before, or would it?


def header():
    return os.path.join(symbols.INCLUDE, "tdpmmu.h")


def compiler(*arguments, text=None, folder=None):
    done = subprocess.run(os.environ.get("CC", "cc").split() + ["-I", symbols.INCLUDE, *arguments],
                          capture_output=True, text=True, input=text, cwd=folder)
    return done.returncode, done.stdout, done.stderr


def preprocessed(*arguments, text):
    status, out, err = compiler("-E", "-DTDPMMU_NO_INLINE", *arguments, "-x", "c", "-", text=text)
    if status:
        sys.exit("abi: the headers do not pass the preprocessor:\n" + err)
    return out


# ---- functions and types, by libabigail -------------------------------------

def statements(text):
    """The pieces between semicolons that stand in no braces; an inline function's body is the end of one, too."""
    depth = start = 0
    is_body = False
    for place, char in enumerate(text):
        if char == "{" and depth == 0:
            is_body = text[start:place].rstrip().endswith(")")
        depth += (char in "{(") - (char in "})")
        ends = char == "}" and is_body
        if depth == 0 and (char == ";" or ends):
            yield text[start:place + ends]
            start = place + 1
    yield text[start:]


def with_body(statement, names):
    """A function's declaration as its definition, a variable's likewise; all else as it is."""
    function = re.search(r"\b(\w+)\s*\(", re.sub(ATTRIBUTE, "", statement))
    if function and function.group(1) in names and "{" not in statement:
        return re.sub(ATTRIBUTE + r"\s*$", "", statement) + " { __builtin_trap(); }"
    variable = re.match(r"\s*extern\s+(.*?\b(\w+)\s*(?:__attribute__.*)?)$", statement, re.S)
    if variable and variable.group(2) in names:
        return variable.group(1) + ";"
    return statement + ";"


def stub(folder):
    text = preprocessed("-P", text='#include "%s"\n' % header())
    names = symbols.declared()
    script, library = os.path.join(folder, "stub.map"), os.path.join(folder, SONAME)
    with open(os.path.join(folder, "stub.i"), "w") as file:
        file.write("\n".join(with_body(statement, names) for statement in statements(text)))
    with open(script, "w") as file:
        file.write(symbols.version_script(names))
    status, _, err = compiler("-x", "cpp-output", "-std=gnu11", "-w", "-O0", "-gdwarf-4", "-fPIC", "-shared",
                              "-nostdlib", "-Wl,--version-script=" + script, "-Wl,-soname," + SONAME, "stub.i", "-o", library,
                              folder=folder)
    if status:
        sys.exit("abi: no stub can be compiled of the headers:\n" + err)
    return library


def abi_of_headers(folder):
    out = os.path.join(folder, "new.abi")
    done = subprocess.run(["abidw", "--no-show-locs", "--no-corpus-path", "--no-comp-dir-path", "--no-elf-needed",
                           "--no-parameter-names", "--type-id-style", "hash", "--out-file", out, stub(folder)],
                          capture_output=True, text=True)
    if done.returncode:
        sys.exit("abi: abidw failed:\n" + done.stderr)
    return out


def leaf_blocks(report):
    """What abidiff's leaf report has to say: (kind of line, name, lines beneath with their indentation)."""
    found, lines = [], None
    for line in report.splitlines():
        heading = re.match(r"  \[([ADC])\] '(?:function |variable )?(.*?)'(?:    \{.*\})?(?: was changed| has some .*)?$|"
                           r"()'(.*?)' changed:$", line)
        if heading:
            lines = []
            found.append((heading.group(1) or "C", heading.group(2) or heading.group(4), lines))
        elif line.startswith("  ") and lines is not None:
            lines.append(line[2:])
        elif line.strip():
            lines = None
    return found


# Structs that only the library makes, and of which no inline knows the size.
MADE_BY_THE_LIBRARY = {"kvm"}


def may_grow(struct):
    """The caller tells how much of it there is, in its first member or in an argument behind the pointer; or has none of its own."""
    first = struct.find("data-member/var-decl")
    named = re.search(r"struct %s \*\w+, size_t size\)" % re.escape(struct.get("name")), symbols.own_text())
    return struct.get("name") in MADE_BY_THE_LIBRARY or bool(named) or first is not None and first.get("name") == "size"


def grows_at_its_end(name, lines, old):
    """A struct whose caller says its size, or has none, may get members behind all others; an enum more names."""
    if any(re.search(r"changed:|changes?:|deletions?:|offset changed", line) for line in lines):
        return False
    if name.startswith("enum "):
        return any("insertion" in line for line in lines)
    struct = old.find(".//class-decl[@name='%s']" % name.replace("struct ", ""))
    if struct is None or not may_grow(struct):
        return False
    inserted = [int(place) for place in re.findall(r"at offset (\d+) ", "\n".join(lines))]
    return bool(inserted) and min(inserted) >= int(struct.get("size-in-bits"))


def is_the_kernels(name, lines):
    """A type that <linux/kvm.h> has here, of the same layout: one kernel's header says __u64, another's uint64_t."""
    of_layout = re.compile(r"size changed|offset changed|insertion|deletion|was added|was removed")
    return name not in own_enumerators_and_types()[1] and not any(of_layout.search(line) for line in lines)


def sentence(lines):
    """The report's first two steps of indentation in one line."""
    kept = [line.strip() for line in lines if len(line) - len(line.lstrip()) <= 4]
    text = "; ".join(kept).replace(":;", ":").replace("  ", " ")
    text = re.sub(r"there are data member changes: |type size hasn't changed; ", "", text)
    return text if len(text) < 400 else text[:400] + " ..."


def type_changes(old_path, new_path):
    """[(BROKEN or ADDED, name, one line)]"""
    done = subprocess.run(["abidiff", "--leaf-changes-only", "--no-show-locs", old_path, new_path],
                          capture_output=True, text=True)
    if done.returncode & 3:
        sys.exit("abi: abidiff failed:\n" + done.stdout + done.stderr)
    old, changes = ElementTree.parse(old_path), []
    for kind, name, lines in leaf_blocks(done.stdout):
        if kind == "A":
            changes.append((ADDED, name, "new"))
        elif kind == "D":
            changes.append((BROKEN, name, "is gone"))
        elif name.startswith("struct ") and is_the_kernels(name, lines):
            continue
        else:
            changes.append((ADDED if grows_at_its_end(name, lines, old) else BROKEN, name, sentence(lines)))
    if done.returncode and not leaf_blocks(done.stdout):
        sys.exit("abi: abidiff sees a change that abi.py cannot read:\n" + done.stdout)
    return changes


# ---- values and sizes, by the compiler --------------------------------------

def own_macros():
    """Names of the headers' macros that take no arguments and stand for something."""
    names, ours = [], False
    for line in preprocessed("-dD", text='#include "%s"\n' % header()).splitlines():
        marker = re.match(r'# \d+ "([^"]*)"', line)
        macro = re.match(r"#define (\w+) \S", line)
        if marker:
            ours = os.path.abspath(marker.group(1)).startswith(os.path.abspath(symbols.INCLUDE) + os.sep)
        elif ours and macro and not NO_CONSTANT.match(macro.group(1)):
            names.append(macro.group(1))
    return names


def own_enumerators_and_types():
    text = symbols.own_text()
    enumerators = [name for body in re.findall(r"\benum\s*\w*\s*\{([^}]*)\}", text)
                   for name in re.findall(r"(?:^|,)\s*(\w+)", re.sub(r"\([^()]*\)", "", body))]
    types = re.findall(r"\b((?:struct|union|enum) \w+)\s*\{", text)
    return enumerators, types


# What C takes as an integer constant, and as a string.
INTEGER = '_Static_assert(_Generic((%s), char *: 0, default: (long long)(%s) || 1), "");'
STRING = '_Static_assert(sizeof("" %s %s), "");'


def those_that_are(form, names):
    """Those of the names with which the compiler takes the form."""
    start = ['#include "%s"' % header()]
    while True:
        lines = [form % ((name, name) if form is INTEGER else ("", name)) for name in names]
        status, _, err = compiler("-DTDPMMU_NO_INLINE", "-std=gnu11", "-fsyntax-only", "-fmax-errors=0", "-w",
                                  "-x", "c", "-", text="\n".join(start + lines))
        if status == 0:
            return names
        wrong = {int(line) - len(start) - 1 for line in re.findall(r"<stdin>:(\d+):\d+: error", err)}
        if not wrong or not names:
            sys.exit("abi: the headers' constants cannot be read:\n" + err)
        names = [name for place, name in enumerate(names) if place not in wrong]


def constants_of_headers(folder):
    enumerators, types = own_enumerators_and_types()
    known = read_constants(CONSTANTS) if os.path.exists(CONSTANTS) else {}
    names = sorted(set(own_macros() + enumerators))
    program = '#include "%s"\n#include <stdio.h>\nint main(void)\n{\n    const char *at;\n' % header()
    # A type of the kernel's is ours only where its header has not got it.
    sizes = {"sizeof(%s)" % one for one in types} | {name for name in known if name.startswith("sizeof(")}
    typed = re.findall(r"\bstatic const \w+ (\w+) =", symbols.own_text())
    for name in those_that_are(INTEGER, names) + sorted(typed) + those_that_are(INTEGER, sorted(sizes)):
        program += '    printf("%s\\t%%lld\\n", (long long)(%s));\n' % (name, name)
    for name in those_that_are(STRING, names):
        program += '    for (printf("%s\\t\\""), at = %s; *at; at++)\n' % (name, name)
        program += '        printf(*at < 32 ? "\\\\%03o" : "%c", *at);\n    puts("\\"");\n'
    path = os.path.join(folder, "constants")
    status, _, err = compiler("-DTDPMMU_NO_INLINE", "-std=gnu11", "-w", "-x", "c", "-", "-o", path,
                              "-Wl,--unresolved-symbols=ignore-all", text=program + "    return 0;\n}\n")
    if status:
        sys.exit("abi: the headers' constants cannot be compiled:\n" + err)
    text = subprocess.run([path], check=True, capture_output=True, text=True).stdout
    return dict(line.split("\t") for line in text.splitlines())


def read_constants(path):
    with open(path) as file:
        return dict(line.split("\t") for line in file.read().splitlines() if not line.startswith("#"))


def number(text):
    return text if text.startswith('"') or -65536 < int(text) < 65536 else "0x%x" % (int(text) & (1 << 64) - 1)


def constant_changes(old, new, reported):
    """A type whose change libabigail tells is told once."""
    changes = []
    for name in sorted(set(old) | set(new)):
        if name not in new:
            changes.append((BROKEN, name, "is gone"))
        elif name not in old:
            changes.append((ADDED, name, "new: " + number(new[name])))
        elif old[name] != new[name] and not any(name == "sizeof(%s)" % one for one in reported):
            kind = ADDED if HOW_MANY.match(name) else BROKEN
            changes.append((kind, name, "was %s, is %s" % (number(old[name]), number(new[name]))))
    return changes


# ---- what the library exports ------------------------------------------------

def kept_symbols(path):
    """{name: size of a variable, or None}"""
    root = ElementTree.parse(path).getroot()
    return {symbol.get("name"): int(symbol.get("size")) if symbol.get("size") and "func" not in symbol.get("type") else None
            for symbol in root.iter("elf-symbol")}


def library_changes(path, library, reported):
    exported, strangers = symbols.exported(library)
    table = subprocess.run(["nm", "-D", "-S", "--defined-only", library], check=True, capture_output=True, text=True).stdout
    sizes = {row[3].partition("@")[0]: int(row[1], 16) for row in map(str.split, table.splitlines()) if len(row) == 4}
    kept = kept_symbols(path)
    changes = [(BROKEN, name, "not exported by " + library) for name in sorted(set(kept) - exported)]
    changes += [(ADDED, name, "exported by " + library) for name in sorted(exported - set(kept))]
    changes += [(BROKEN, name, "has %d bytes, had %d" % (sizes[name], size)) for name, size in sorted(kept.items())
                if size is not None and name in exported and sizes[name] != size]
    changes += [(BROKEN, stranger, "in " + library) for stranger in strangers]
    return [change for change in changes if not any(re.search(r"\b%s\(" % re.escape(change[1]), one) for one in reported)]


# ---- the two commands ----------------------------------------------------------

def has_abigail():
    return shutil.which("abidw") and shutil.which("abidiff")


def changes_of_headers(folder):
    """What the headers of today changed."""
    changes = type_changes(ABI, abi_of_headers(folder)) if has_abigail() else []
    return changes + constant_changes(read_constants(CONSTANTS), constants_of_headers(folder), [c[1] for c in changes])


def tell(changes):
    for kind, name, text in changes:
        print("abi: %s: %s: %s" % (kind, name, text), file=sys.stderr)


def check(library):
    if not os.path.exists(ABI) or not os.path.exists(CONSTANTS):
        sys.exit("abi: there is no %s or .constants: `make abi` writes both" % os.path.relpath(ABI, symbols.TOP))
    with tempfile.TemporaryDirectory() as folder:
        changes = changes_of_headers(folder)
    changes += library_changes(ABI, library, [c[1] for c in changes])
    tell(changes)
    if any(kind == BROKEN for kind, _, _ in changes):
        print("abi: today's programs would break: keep what was there, or see CONTRIBUTING.md, 'The soname'", file=sys.stderr)
    elif changes:
        print("abi: run `make abi`, tell it in CHANGELOG.md, and raise the minor version", file=sys.stderr)
    if not has_abigail():
        print("abi: types and prototypes were not compared: " + NO_ABIGAIL)
    # What the self-test puts in would stand beside changes that are there already.
    tried, failed = (0, 0) if changes else self_test()
    passed = len(kept_symbols(ABI)) + len(read_constants(CONSTANTS)) + tried - failed
    print("abi: %d passed, %d failed" % (passed, len(changes) + failed))
    return 1 if changes or failed else 0


def write():
    if os.environ.get("BREAK", "") not in ("", "0", "1"):
        sys.exit("abi: BREAK='%s' is neither 1 nor 0" % os.environ["BREAK"])
    if not has_abigail():
        sys.exit("abi: nothing is written: " + NO_ABIGAIL)
    with tempfile.TemporaryDirectory() as folder:
        changes = changes_of_headers(folder) if os.path.exists(ABI) and os.path.exists(CONSTANTS) else []
        tell(changes)
        if any(kind == BROKEN for kind, _, _ in changes) and os.environ.get("BREAK") != "1":
            sys.exit("abi: nothing is written: today's programs would break; CONTRIBUTING.md, 'The soname', says when "
                     "`make abi BREAK=1` is right")
        constants = constants_of_headers(folder)
        os.makedirs(os.path.dirname(ABI), exist_ok=True)
        with open(CONSTANTS + ".new", "w") as file:
            file.write("# SPDX-License-Identifier: GPL-2.0-only\n# Written by `make abi` from the headers.\n")
            file.writelines("%s\t%s\n" % (name, constants[name]) for name in sorted(constants))
        shutil.copy(abi_of_headers(folder), ABI + ".new")
        os.replace(CONSTANTS + ".new", CONSTANTS)
        os.replace(ABI + ".new", ABI)
    print("abi: %d symbols, %d constants and sizes" % (len(kept_symbols(ABI)), len(constants)))


# ---- does it see what it is for? -------------------------------------------------

# (header, what stands there, what is put there, what must be told or None, does it take libabigail?)
RCU = "void synchronize_rcu(void);"
BREAKS = [
    ("tdp_iter.h", "struct tdp_iter {", "struct tdp_iter {\n    int more;", (BROKEN, "struct tdp_iter"), False),
    ("vm.h", "    uint16_t as_id;", "    int16_t as_id;", (BROKEN, "struct kvm_memory_slot"), True),
    ("vm.h", "    size_t size; /* sizeof(struct tdpmmu_ops)", "    int more; /*", (BROKEN, "struct tdpmmu_ops"), True),
    ("vm.h", "    uint64_t invalidate_seq;", "    uint64_t invalidate_seq, more;", (ADDED, "struct tdpmmu_vm_config"), True),
    ("vm.h", "    uint64_t pml_flushes;", "    uint64_t pml_flushes, more;", (ADDED, "struct tdpmmu_stats"), True),
    ("vm.h", "    const struct tdpmmu_facts *facts;", "    const struct tdpmmu_facts *facts; int more;", (ADDED, "struct kvm"), True),
    ("vm.h", "    uint64_t pages_4k;", "    uint64_t more, pages_4k;", (BROKEN, "struct tdpmmu_stats"), True),
    ("rcu.h", RCU, "int synchronize_rcu(int how);", (BROKEN, "void synchronize_rcu"), True),
    ("rcu.h", RCU, "", (BROKEN, "void synchronize_rcu"), True),
    ("rcu.h", RCU, RCU + "\nvoid one_more(void);", (ADDED, "void one_more"), True),
    ("rcu.h", RCU, "extern " + RCU, None, False),
    ("types.h", "RET_PF_SPURIOUS = 6", "RET_PF_SPURIOUS = 7", (BROKEN, "RET_PF_SPURIOUS"), False),
    ("types.h", "RET_PF_SPURIOUS = 6,", "RET_PF_SPURIOUS = 6, RET_PF_MORE = 7,", (ADDED, "RET_PF_MORE"), False),
    ("constants.h", "TDPMMU_SPTE_LARGE = 0x80", "TDPMMU_SPTE_LARGE = 0x8", (BROKEN, "TDPMMU_SPTE_LARGE"), False),
    ("types.h", "#define PG_LEVEL_2M 2", "#define PG_LEVEL_2M 20", (BROKEN, "PG_LEVEL_2M"), False),
]


@contextlib.contextmanager
def headers_with(name, old, new):
    include = symbols.INCLUDE
    with tempfile.TemporaryDirectory() as folder:
        symbols.INCLUDE = os.path.join(folder, "include")
        shutil.copytree(include, symbols.INCLUDE)
        path = os.path.join(symbols.INCLUDE, "tdpmmu", name)
        with open(path) as file:
            text = file.read()
        if old not in text:
            sys.exit("abi: BREAKS in scripts/abi.py: %s has no '%s' any more" % (name, old))
        with open(path, "w") as file:
            file.write(text.replace(old, new, 1))
        try:
            yield folder
        finally:
            symbols.INCLUDE = include


def self_test():
    """(tried, failed): each change put into a copy of the headers is told, and as what it is."""
    with tempfile.TemporaryDirectory() as folder:
        before = set(changes_of_headers(folder))
    tried = failed = 0
    for name, old, new, wanted, needs_abigail in BREAKS:
        if needs_abigail and not has_abigail():
            continue
        tried += 1
        with headers_with(name, old, new) as folder:
            told = [change for change in changes_of_headers(folder) if change not in before]
        if not any(kind == wanted[0] and wanted[1] in text for kind, text, _ in told) if wanted else told:
            failed += 1
            print("abi: FAILED: '%s' for '%s' in %s is told as %s" % (new, old, name, told or "nothing"), file=sys.stderr)
    return tried, failed


def main():
    if len(sys.argv) == 3 and sys.argv[1] == "check":
        sys.exit(check(sys.argv[2]))
    if sys.argv[1:] != ["write"]:
        sys.exit(__doc__)
    write()


if __name__ == "__main__":
    main()
