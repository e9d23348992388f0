# SPDX-License-Identifier: GPL-2.0-only
"""What the reference says of each exported function and each header, from the headers' comments:
the one content of the man pages (man.py) and of the HTML (htmldocs.py).

A page is about the functions that one comment is about.  Of the comment, sentences that say what
is returned, which errors there are, what is held and which kernel function is followed have
places of their own; the rest is the description."""
import re

import contracts
import headers
import symbols

RETURNS = re.compile(r"(Returns?\b|Gives\b|0[,:;. ]|-E[A-Z]+\b|RET_PF_\w+|NULL with errno|[Tt]rue\b|[Ff]alse\b|1, 0\b)")
FOLLOWS = re.compile(r"(Follows?|They follow|Each follows|After the model of)\b")
ERRNO = re.compile(r"(?<![\w-])-?(E(?:INVAL|NOMEM|BUSY|EXIST|NOENT|2BIG|AGAIN|FAULT|HWPOISON|NOBUFS|NXIO|IO|NOSPC|INTR))\b")
COMMON_ERRORS = {
    "EINVAL": "A contract is broken: NULL, a pointer to nothing of the VM's, or an argument out of its range.",
    "ENOMEM": "There is no memory.",
    "EIO": "The system's call took nothing.",
    "EFAULT": "The host cannot map the page.",
    "EHWPOISON": "The host's page is poisoned.",
}
# What the parts of a contract mean; contracts.py has how they are combined.
HELD = {
    "Any lock": "The caller may hold any lock, or none",
    "Lock R": "The caller holds %s for read",
    "Lock W": "The caller holds %s for write",
    "Lock R or W": "The caller holds %s, for read or for write",
    "or Lock R or W": "or holds %s, for read or for write",
    "or Lock W": "or holds %s for write",
    "In RCU": "The caller is inside rcu_read_lock()",
    "In RCU or kvm->srcu": "The caller is inside rcu_read_lock() or in a reader of kvm->srcu",
    "No lock": "The caller holds no mmu_lock",
    "No lock or Lock W": "The caller holds no mmu_lock, or %s for write",
    "Not under Lock W": "The caller does not hold %s for write",
    "Lock R if shared": "The caller holds %s for read if shared is true",
    "else W": "else for write",
    "not in RCU": "is not inside rcu_read_lock()",
    "not in kvm->srcu": "is in no reader of kvm->srcu",
    "not in a callback": "is in no callback that the library makes",
    "not in an RCU callback": "is in no callback of call_rcu()",
    "not in a reader of ssp": "is in no reader of the domain ssp",
    "In a reader of ssp": "The caller is in a reader of the domain ssp",
    "Not in a reader of ssp": "The caller is in no reader of the domain ssp",
}
SET_UP = "the TDP MMU is set up: between kvm_mmu_init_tdp_mmu() and kvm_mmu_uninit_tdp_mmu()"
# Words of ordinary text, too: as a parameter only where a colon or a star says so.
ORDINARY = {"on", "start", "end", "what", "list", "entry", "function", "text", "report", "name", "count", "events", "access",
            "range", "flush", "shared", "callbacks", "level", "slot", "size", "line", "file", "log", "n", "lock", "role", "writes",
            "object", "address", "root", "result", "how", "cap", "lost"}


def closed(text):
    """Is no bracket open at the text's end?  A range may be [start, end)."""
    text = re.sub(r"\[[^][()]*[])]", "", text)
    return text.count("(") <= text.count(")") and "[" not in text


class Page:
    def __init__(self, header, functions):
        self.header, self.functions = header, functions
        self.comment = functions[0].comment
        self.notes = [note for note in functions[0].notes if self._concerns(note)]
        self.description, self.returns, self.follows, self.held = [], [], [], []
        self.contract = None
        self._sort_sentences()

    @property
    def names(self):
        return [function.name for function in self.functions]

    @property
    def heading(self):
        return self.functions[0].heading

    def parameters(self):
        """(type, name, as declared) of all functions, each once."""
        found = {}
        for function in self.functions:
            for kind, name, declared in function.parameters():
                found.setdefault((kind, name), (kind, name, declared))
        return list(found.values())

    def parameter_names(self):
        return {name for _, name, _ in self.parameters()}

    def _concerns(self, note):
        """A note about a parameter is for functions that have it."""
        parameter = re.match(r"([a-z]\w*): ", note.lines[0])
        return not parameter or parameter[1] in self.parameter_names()

    def _sort_sentences(self):
        place = self.description
        for kind, text in self.comment.blocks():
            if kind == "code":
                self.description.append((kind, [text]))
                continue
            kept = []
            for sentence in headers.sentences(text):
                place = self._place(sentence, kept, place)
                place.append(sentence)
            if kept:
                self.description.append((kind, kept))

    def _place(self, sentence, kept, before):
        if sentence.rstrip(".") in contracts.PHRASES:
            self.contract = sentence.rstrip(".")
            return self.held
        if sentence.startswith("For as long as the result is used") and before is self.held:
            return self.held
        if FOLLOWS.match(sentence):
            return self.follows
        if sentence.startswith("NULL:") and any("*" in function.result() for function in self.functions):
            return self.returns
        if RETURNS.match(sentence) and self.results() != {"void"}:
            return self.returns
        return kept

    def summary(self):
        """A few words for the line NAME: the description's begin."""
        first = next((s for kind, said in self.description if kind != "code" for s in said), None)
        first = first or (self.returns and self.returns[0]) or ""
        first += " "
        ends = [m.start() for m in re.finditer(r"(?<=[\w)\]*])[.?:;]\s", first) if closed(first[:m.start()])]
        words = re.sub(r"^Returns? ", "", first[:ends[0] if ends else None].strip(" ."))
        if len(words) > 76:
            words = re.sub(r" \([^()]*\)", "", words)
        if len(words) > 76:
            cuts = [m.start() for m in re.finditer(", ", words[:77]) if closed(words[:m.start()])]
            words = words[:cuts[-1]] if cuts else words
        return words[:1].lower() + words[1:] if not re.match(r"[A-Z]{2}|[A-Z]\w*_", words) else words

    def summarised(self):
        """The same as a sentence."""
        return self.summary() + ("?" if self._asks() and len(self.description[0][1][0].rstrip("?")) == len(self.summary()) else ".")

    def _asks(self):
        return any(kind == "text" and said[0].endswith("?") for kind, said in self.description[:1])

    def returned(self):
        """Sentences for RETURN VALUES."""
        if self.returns:
            return self.returns
        return ["True if the answer is yes, else false."] if self._asks() and self.results() == {"bool"} else []

    def results(self):
        return {function.result() for function in self.functions}

    def errors(self):
        """[(errno, [reasons])]"""
        found = {}
        for sentence in self.returns:
            for match in ERRNO.finditer(sentence):
                reasons = found.setdefault(match[1], [])
                reason = self._reason(sentence[match.end():])
                if reason and reason not in reasons:
                    reasons.append(reason)
        return [(code, reasons or [COMMON_ERRORS.get(code, "")]) for code, reasons in sorted(found.items())]

    def _reason(self, rest):
        rest = re.sub(r"^(,? (or )?-E[A-Z]+)+(?= \()| or -E[A-Z]+(?= \()", "", rest) if rest.startswith(" or -E") else rest
        bracket = re.match(r"(?:,? with a warning,?)? \(((?:[^()]|\([^()]*\))*)\)", rest)
        said = (bracket or re.match(r": ([^;]*?)(?:;|\.?$)", rest)
                or re.match(r"(?:,? with a warning[^,;.]*,)? (?:for )?((?:if|where|of|NULL)\b.*?)(?:[;.]|, -E|$)", rest))
        reason = said[1] if said else ""
        if re.match(r"\w+", reason) and re.match(r"\w+", reason)[0] not in self.parameter_names():
            reason = reason[:1].upper() + reason[1:]
        return reason + "." if reason else ""

    def what_is_held(self):
        """The contract as sentences."""
        contract, _, set_up = self.contract.partition("; ")
        lock = "the lock" if self.header.name == "lock" else "kvm->mmu_lock"
        parts = [HELD.get(part, "") for part in contract.split(", ")]
        if contract in HELD:
            parts = [HELD[contract]]
        if not all(parts):
            raise SystemExit("reference.py: no words for the contract: %s" % self.contract)
        text = ", ".join(part % lock if "%s" in part else part for part in parts)
        if len(parts) > 1 and not parts[-1].startswith(("or ", "else ")):
            text = ", ".join(part % lock if "%s" in part else part for part in parts[:-1]) + " and " + parts[-1]
        return ["%s%s." % (text, "; " + SET_UP if set_up else "")] + self.held[1:]

    def follows_ioctl(self):
        """Then bad values are answered by the errno alone."""
        return any(re.search(r"\bioctl\b", sentence) for sentence in self.follows)

    def followed(self):
        """Sentences about the kernel's function."""
        if self.follows:
            return self.follows
        kernels = [name + "()" for name in self.names if not name.startswith("tdpmmu_")]
        if not kernels:
            return ["The kernel has no such function."]
        if len(kernels) == 1:
            return ["%s follows the kernel's function of its name." % kernels[0]]
        listed = ", ".join(kernels[:-1]) + " and " + kernels[-1]
        return [("They follow" if len(kernels) == len(self.names) else listed + " follow") + " the kernel's functions of their names."]


class Overview:
    """One header."""

    def __init__(self, header, pages):
        self.header = header
        # What only an inline calls comes last.
        self.pages = sorted(pages, key=lambda page: "for the inline to call" in page.summary())
        self.notes = [comment for comment in header.comments if comment.is_note and not comment.is_private]
        self.types, self.others = [], []
        exported = {name for page in pages for name in page.names}
        group, seen = None, set()
        for found in header.declarations:
            if found.name in exported or found.kind == "variable" or self._is_private(found) or (found.kind, found.name) in seen:
                continue
            seen.add((found.kind, found.name))
            target = self.types if found.kind == "type" else self.others
            if group and group[0] is found.comment and group[2] is target and (found.comment or self._follows(found, group[1][-1])):
                group[1].append(found)
            else:
                group = (found.comment, [found], target)
                target.append(group)

    @staticmethod
    def _follows(found, before):
        return found.line == before.line + before.text.count("\n") + 1

    @staticmethod
    def _is_private(found):
        return (found.comment is not None and found.comment.is_private or re.search(r"_$|^TDPMMU_\w+_\d$", found.name)
                or found.name in ("TDPMMU_RCU_INLINE", "TDPMMU_OWN_LIST", "TDPMMU_BEGIN_DECLS", "TDPMMU_END_DECLS"))

    @property
    def title(self):
        return "tdpmmu" if self.header.name == "tdpmmu" else "tdpmmu_" + self.header.name

    def summary(self):
        first = headers.sentences(" ".join(self.header.about.lines))[0].rstrip(".")
        words = re.sub(r"^libtdpmmu: ", "", first)
        return words[:1].lower() + words[1:] if not re.match(r"[A-Z]{2}|KVM", words) else words


# Of libraries that are installed beside this one: manpages-dev has queue(3) under this name.
TAKEN = {"LIST_HEAD"}


def overview_of_names(overviews, exported):
    """{macro or inline with a comment: its header}; of two headers with the name that which tdpmmu.h includes."""
    found = {}
    for overview in sorted(overviews, key=lambda o: o.header.program_includes != "tdpmmu.h"):
        for comment, members, _ in overview.others:
            for member in members if comment is not None else ():
                if member.name not in exported and member.name not in TAKEN:
                    found.setdefault(member.name, overview)
    return found


def under_headings(things, heading_of):
    """[(heading or None, [thing])], of things in the header's order."""
    found = []
    for thing in things:
        if not found or found[-1][0] != heading_of(thing):
            found.append((heading_of(thing), []))
        found[-1][1].append(thing)
    return found


def synopsis(found):
    """How a reader sees a declaration: no bodies of functions, of macros that are code no more than their arguments."""
    if found.kind == "function":
        return found.prototype + ";"
    if found.kind != "macro":
        return found.text
    text = " ".join(line.rstrip("\\").strip() for line in headers.without_comments(found.text).split("\n")).strip()
    arguments = re.match(r"#\s*define (\w+\([^)]*\))", text)
    if arguments:
        return "#define " + arguments[1]
    trailing = re.search(r"/\*.*?\*/\s*$", found.text)
    return re.sub(r"\s+", " ", text) + (" " + trailing[0].strip() if trailing else "")


# A function, an errno, a constant, a word of code; all else is text.
INLINE = re.compile(r"`(?P<code>[^`]+)`|(?P<function>\b[A-Za-z_]\w*)\(\)|(?P<errno>(?<![\w-])-?E(?:%s)\b)"
                    r"|(?P<constant>\b(?:RET_PF|TDPMMU|KVM|PFERR|PG_LEVEL|FROZEN|SHADOW|PT64|LIST|RCU)_[A-Z0-9_]*(?:\[\w+\])?\*?|\b(?:NULL|UINT64_MAX|INVALID_PAGE)\b)"
                    r"|(?P<word>\*?\b[a-z_]\w*(?:->\w+)*\b)" % ERRNO.pattern.partition("(?:")[2].partition(")")[0])


def inline(text, parameters=()):
    """[(kind, text)]: kind is text, code, function, errno, constant or parameter."""
    pieces, at = [], 0
    for match in INLINE.finditer(text):
        kind = match.lastgroup
        found = match[kind]
        if kind == "word":
            bare = found.lstrip("*").partition("->")[0]
            plain = bare in ORDINARY and not found.startswith("*") and "->" not in found and text[match.end():match.end() + 1] != ":"
            if "->" in found and bare not in parameters:
                kind = "code"
            elif bare not in parameters or plain:
                continue
            else:
                kind = "parameter"
        if match.start() > at:
            pieces.append(("text", text[at:match.start()]))
        pieces.append((kind, found))
        at = match.end()
    return pieces + ([("text", text[at:])] if at < len(text) else [])


def units():
    """Type: what its values are, from types.h."""
    types = next(h for h in headers.all_headers() if h.name == "types")
    found = {}
    for declared in types.declarations:
        said = re.match(r"typedef uint64_t (\w+); +/\* (.*?) \*/", declared.text)
        if said:
            found[said[1]] = said[2]
    return found


def load():
    """(overviews, {function: page})"""
    exported = symbols.declared() - symbols.VARIABLES
    overviews, page_of = [], {}
    for header in headers.all_headers():
        pages, groups = [], []
        for function in header.functions():
            if function.name not in exported or function.name in page_of:
                continue
            page_of[function.name] = None
            if groups and groups[-1][0].comment is function.comment and function.comment:
                groups[-1].append(function)
            else:
                groups.append([function])
        for group in groups:
            if group[0].comment is None:
                raise SystemExit("%s.h:%d: %s has no comment" % (header.name, group[0].line, group[0].name))
            page = Page(header, group)
            pages.append(page)
            page_of.update((name, page) for name in page.names)
        overviews.append(Overview(header, pages))
    return overviews, page_of
