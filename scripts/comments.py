#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Are the headers' comments enough for a page of its own about each exported function?

Each is about the function without what stands before it in the header, says what is returned and
what is held, and names each parameter whose unit or meaning the type does not say: numbers, unless
the type is one of those of types.h or the name has the unit in it, flags, and what is written to."""
import re
import sys

import reference

# Types whose numbers have their unit by themselves.
NUMBERS = re.compile(r"(?:const )?(?:unsigned |signed )?(?:int|long|char|size_t|u?int\d+_t)$")
NAME_HAS_UNIT = re.compile(r"(?:_ms|_ns|_bytes|bytes|npages|_pages|_gfn)$")
# What a comment has to say of a number of this name, which its type does not: unit, or what counts from where.
SAID_OF = {  # names: (what is looked for, in words)
    r"hva|addr|start|end|bytes|length": (r"\bbytes\b", "bytes"),
    r"size": (r"\bbytes\b|\ba power of two\b", "bytes"),
    r"npages|pages": (r"\b4 KiB\b|\bgfns? \[", "pages of 4 KiB"),
    r"(?:\w+_)?level": (r"\b[1-5] (?:to|or) (?:[1-5]|root_level)\b|\bthe root's level\b|\bits level\b|\blevel: of the entry\b",
                        "from which level to which, 1 to 3 for instance"),
    r"as_id": (r"\baddress space\b", "an address space"),
    r"mask": (r"\bbits?\b", "a bit for what"),
    r"(?:\w+_)?ms": (r"\bmilliseconds\b", "milliseconds"),
    r"(?:\w+_)?ns": (r"\bnanoseconds\b", "nanoseconds"),
    r"error_code|access": (r"\bPFERR_|\berror code\b", "bits PFERR_*"),
    r"spte": (r"\bvalue\b", "an SPTE's value"),
}
REFERS = re.compile(r"^The same(?:[,.;:]|\s+(?:operations?|as|for|in|into|of|range|under|where)\b)|^(?:Both of |All of )?[Tt]hese\b|\b(?:as|said|listed|named|likewise|described) (?:above|before|below)\b"
                    r"|^[Ll]ikewise\b|\blikewise\b|\bthe next (?:one|two|three)\b|^As above\b|^Also\b")
LIMIT_SUMMARY = 90


def needs_words(kind, name, units):
    if kind == "bool":
        return True
    pointee = re.match(r"(?:(\w+(?: \w+)*)) \*$", kind)
    if pointee and not kind.startswith("const") and (NUMBERS.match(pointee[1]) or pointee[1] in units or pointee[1] == "bool"):
        return name != "sptep"
    return bool(NUMBERS.match(kind)) and not NAME_HAS_UNIT.search(name)


def lacks(kind, name, text):
    """The words that a number's unit wants, where the comment has none of them."""
    if not NUMBERS.match(kind.replace("*", "").strip()):
        return None
    return next((words for names, (wanted, words) in SAID_OF.items() if re.fullmatch(names, name) and not re.search(wanted, text)), None)


def is_named(name, text):
    return re.search(r"(?<!\w)%s(?!\w)" % re.escape(name), text) is not None


def problems_of(page, units):
    text = " ".join(page.comment.lines)
    if page.contract is None:
        yield "says not what is held"
    for sentence in page.comment.sentences():
        if REFERS.search(sentence) and not re.search(r"\w\(\)", sentence):
            yield 'is nothing without what stands elsewhere: "%s"' % sentence
    if page.results() != {"void"} and not page.returned():
        yield "says not what it returns"
    if not 4 <= len(page.summary()) <= LIMIT_SUMMARY:
        yield 'begins with no short line: "%s"' % page.summary()
    if not reference.closed(page.summary()):
        yield 'begins with a line that is cut inside brackets: "%s"' % page.summary()
    for kind, name, _ in page.parameters():
        if needs_words(kind, name, units) and not is_named(name, text):
            yield "says nothing of %s %s" % (kind, name)
        elif lacks(kind, name, text):
            yield "says not what %s %s is in: %s" % (kind, name, lacks(kind, name, text))
    for code, reasons in page.errors():
        if reasons == [""]:
            yield "says not when -%s" % code


def main():
    overviews, pages = reference.load()
    units, passed, problems, summaries = reference.units(), 0, 0, {}
    for page in dict.fromkeys(pages.values()):
        found = list(problems_of(page, units))
        if page.summary() in summaries:
            found.append('begins as %s does: "%s"' % (summaries[page.summary()], page.summary()))
        summaries[page.summary()] = page.names[0]
        for problem in found:
            print("comments: %s:%d: %s: its comment %s" % (page.header.include, page.comment.line, page.names[0], problem),
                  file=sys.stderr)
        problems += len(found)
        passed += 0 if found else len(page.names)
    for overview in overviews:
        if overview.header.about is None:
            print("comments: %s does not begin with what it is about" % overview.header.include, file=sys.stderr)
            problems += 1
        passed += overview.header.about is not None
    print("comments: %d passed, %d failed" % (passed, problems))
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
