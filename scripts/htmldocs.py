#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Write the reference (reference.py) and the guides as HTML that needs neither network nor server.

htmldocs.py FOLDER           a page for each header and each guide: docs/*.md, README.md and what they lead to
htmldocs.py --check FOLDER   does each link and picture lead somewhere, has each exported function its place?

Guides are converted by python3-markdown; without it there are only the headers' pages."""
import glob
import html
import json
import os
import re
import shutil
import subprocess
import sys

import headers
import man
import reference
import symbols

try:
    import markdown
except ImportError:
    markdown = None

TOP = headers.TOP
PARTS = os.path.join(TOP, "scripts", "docs")
SYSTEM_PYTHON = "/usr/bin/python3"
MARK = "<!-- Written by scripts/htmldocs.py. -->"
GUIDES_FIRST = ["README.md", "docs/TUTORIAL.md", "docs/DESIGN.md", "docs/KERNELS.md", "docs/LOCKING.md", "docs/RCU.md"]
LIMIT_TEXT = 1500  # characters of one entry that are searched
LIMIT_BEGIN = 130  # of a guide, on the first page


def try_system_python():
    """Debian's python3-markdown is for Debian's python, which need not be the first one."""
    if markdown or sys.executable == SYSTEM_PYTHON or os.environ.get("TDPMMU_DOCS_AGAIN") or not os.path.exists(SYSTEM_PYTHON):
        return
    if subprocess.run([SYSTEM_PYTHON, "-c", "import markdown"], capture_output=True).returncode == 0:
        os.environ["TDPMMU_DOCS_AGAIN"] = "1"
        os.execv(SYSTEM_PYTHON, [SYSTEM_PYTHON, *sys.argv])


def plain(text):
    text = re.sub(r"</?(?:a|code|em|strong|kbd|var|span)\b[^>]*>", "", text)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())


def capital(text):
    return text[:1].upper() + text[1:] if not re.match(r"[a-z]+[_A-Z]", text) else text


class Site:
    def __init__(self, folder):
        self.folder = folder
        self.overviews, self.pages = reference.load()
        self.units = reference.units()
        self.addresses = {}   # name of a function, type, macro: where it is
        self.index = []       # [title, address, where, summary, text]
        self.guides = guides() if markdown else {}
        for overview in self.overviews:
            for name in names_of(overview):
                self.addresses.setdefault(name, "%s#%s" % (header_file(overview), anchor(name)))
            for _, members, _ in overview.types:
                for member in members:
                    for name in enumerators(member):
                        self.addresses.setdefault(name, "%s#%s" % (header_file(overview), anchor(member.name)))

    # ---- text --------------------------------------------------------------------------------------

    def code(self, name, shown):
        address = self.addresses.get(name)
        text = "<code>%s</code>" % html.escape(shown)
        return '<a href="%s">%s</a>' % (address, text) if address else text

    def sentence(self, text, parameters=()):
        said = []
        for kind, word in reference.inline(text, parameters):
            if kind == "text":
                said.append(html.escape(word, quote=False))
            elif kind == "parameter":
                said.append("<var>%s</var>" % html.escape(word))
            else:
                said.append(self.code(word, word + "()" if kind == "function" else word))
        return "".join(said)

    def sentences(self, said, parameters=()):
        return " ".join(self.sentence(s, parameters) for s in said)

    def blocks(self, blocks, parameters=()):
        lines, before = [], None
        for kind, said in blocks:
            if before == "item" and kind != "item":
                lines.append("</ul>")
            if kind == "item" and before != "item":
                lines.append("<ul>")
            if kind == "code":
                lines.append("<pre>%s</pre>" % html.escape(said[0], quote=False))
            else:
                tag = "li" if kind == "item" else "p"
                lines.append("<%s>%s</%s>" % (tag, self.sentences(said, parameters), tag))
            before = kind
        return lines + (["</ul>"] if before == "item" else [])

    def comment(self, comment):
        return self.blocks([(kind, [said] if kind == "code" else headers.sentences(said)) for kind, said in comment.blocks()])

    # ---- a header ----------------------------------------------------------------------------------

    def function(self, page):
        names = page.parameter_names()
        title = ", ".join('<a href="#%s"%s>%s</a>' % (anchor(name), ' id="%s"' % anchor(name) if name != page.names[0] else "",
                                                     html.escape(name)) for name in page.names)
        lines = ['<section class="function" id="%s">' % anchor(page.names[0]), '<h3 class="name">%s</h3>' % title]
        lines += ["<pre>%s</pre>" % "\n".join(self.prototype(function) for function in page.functions)]
        lines += self.blocks(page.description or [("text", page.returned())], names)
        lines += ['<dl class="facts">']
        for term, said in self.facts(page, names):
            lines.append("<dt>%s</dt><dd>%s</dd>" % (term, said))
        return lines + ["</dl>", "</section>"]

    def prototype(self, function):
        parameters = ", ".join(declared for _, _, declared in function.parameters()) or "void"
        text = "%s %s(%s);" % (function.result(), function.name, parameters)
        text = text.replace("* " + function.name, "*" + function.name)
        if len(text) > 84:
            start = text.index("(") + 1
            text = text[:start] + "\n    " + ",\n    ".join(declared for _, _, declared in function.parameters()) + ");"
        linked = re.sub(r"\b(?:(?:struct|enum|union) )?\w+\b",
                        lambda m: '<a href="%s">%s</a>' % (self.addresses[m[0]], m[0])
                        if m[0] in self.addresses and m[0] != function.name else m[0], html.escape(text, quote=False))
        return linked

    def facts(self, page, names):
        if page.returned():
            yield "Returns", self.sentences([re.sub(r"^Returns (\w)", lambda m: m[1].upper(), s) for s in page.returned()], names)
        if page.errors():
            yield "Errors", "<dl>%s</dl>" % "".join("<dt><code>%s</code></dt><dd>%s</dd>" % (code, self.sentences(reasons, names))
                                                    for code, reasons in page.errors())
        yield "Locks and RCU", self.sentences(page.what_is_held(), names)
        measured = [(name, self.units[re.sub(r"[ *]|const", "", kind)]) for kind, name, _ in page.parameters()
                    if re.sub(r"[ *]|const", "", kind) in self.units]
        if measured:
            yield "Units", "<dl>%s</dl>" % "".join("<dt><var>%s</var></dt><dd>%s</dd>" % (name, self.sentence(unit)) for name, unit in measured)
        yield "Kernel", self.sentences(page.followed(), names)

    def declarations(self, groups):
        lines, heading = [], None
        for comment, members, _ in groups:
            if members[0].heading != heading:
                heading = members[0].heading
                lines.append("<h3>%s</h3>" % heading)
            marks = "".join('<span id="%s"></span>' % anchor(member.name) for member in members)
            lines += [marks] + (self.comment(comment) if comment is not None else [])
            text = html.escape("\n".join(reference.synopsis(member) for member in members), quote=False)
            lines.append("<pre>%s</pre>" % re.sub(r"(/\*.*?\*/)", r'<span class="comment">\1</span>', text, flags=re.S))
        return lines

    def header(self, overview):
        header = overview.header
        lines = ["<h1><code>&lt;%s&gt;</code></h1>" % header.include, *self.comment(header.about)]
        for note in overview.notes:
            lines += self.comment(note)
        if overview.header.name == "tdpmmu":
            lines += ["<h2>Headers</h2>", *self.header_list()]
        if overview.pages:
            lines.append('<h2 id="functions">Functions</h2>')
            for heading, members in reference.under_headings(overview.pages, lambda page: page.heading):
                lines += ["<h3>%s</h3>" % heading] if heading else []
                lines.append('<dl class="list">')
                for page in members:
                    lines.append("<dt>%s</dt><dd>%s</dd>" % (", ".join(self.code(name, name) for name in page.names),
                                                             self.sentence(capital(page.summarised()))))
                lines.append("</dl>")
        for page in overview.pages:
            lines += self.function(page)
        if overview.types:
            lines += ['<h2 id="types">Types</h2>', *self.declarations(overview.types)]
        if overview.others:
            lines += ['<h2 id="macros">Macros and inline functions</h2>', *self.declarations(overview.others)]
        self.index_header(overview)
        self.put(header_file(overview), header.include, lines)

    def header_list(self):
        return ['<ul class="cards">'] + ['<li><a href="%s"><code>%s</code></a><span>%s</span></li>' % (
            header_file(o), o.header.include, html.escape(capital(o.summary()) + ".")) for o in self.overviews] + ["</ul>"]

    def index_header(self, overview):
        where = overview.header.include
        self.index.append([where, header_file(overview), "header", overview.summary(), " ".join(overview.header.about.lines).lower()])
        for page in overview.pages:
            for name in page.names:
                self.index.append([name + "()", self.addresses[name], where, page.summary(), plain(" ".join(page.comment.lines)).lower()[:LIMIT_TEXT]])
        for comment, members, _ in overview.types + overview.others:
            about = " ".join(comment.lines) if comment is not None else ""
            for member in members:
                first = headers.sentences(about)[0] if about else ""
                self.index.append([member.name, "%s#%s" % (header_file(overview), anchor(member.name)), where, first,
                                   plain(about + " " + member.text).lower()[:LIMIT_TEXT]])
                self.index += [[name, self.addresses[name], member.name, "", ""] for name in enumerators(member)]

    # ---- a guide -----------------------------------------------------------------------------------

    def guide(self, path):
        with open(os.path.join(TOP, path)) as file:
            text = file.read()
        body = markdown.markdown(text, extensions=["tables", "fenced_code", "toc", "sane_lists", "md_in_html"])
        body = re.sub(r'<a href="([^"]*)"([^>]*)>(.*?)</a>', lambda m: self.guide_link(path, *m.groups()), body, flags=re.S)
        body = re.sub(r"(<table>.*?</table>)", r'<div class="overflow">\1</div>', body, flags=re.S)
        body = re.sub(r'(<pre><code class="language-c">)(.*?)(</code>)', lambda m: m[1] + self.program(m[2]) + m[3], body, flags=re.S)
        body = re.sub(r"(<a [^>]*>.*?</a>|<pre>.*?</pre>)|<code>((?:(?:struct|enum|union) )?\w+)((?:\(\))?)</code>",
                      lambda m: m[1] or self.code(m[2], m[2] + m[3]), body, flags=re.S)
        title = plain(re.search(r"<h1[^>]*>(.*?)</h1>", body, re.S)[1])
        body = re.sub(r'<h([23]) id="([^"]*)">(.*?)</h\1>', r'<h\1 id="\2"><a class="anchor" href="#\2">\3</a></h\1>', body, flags=re.S)
        body = re.sub(r'<a class="anchor" href="(#[^"]*)">((?:(?!</h).)*<a .*?)</a></h', r'\2</h', body, flags=re.S)
        self.index_guide(path, title, body)
        self.put(self.guides[path], title, [body])

    def program(self, text):
        """C in a guide: comments and strings as they are, names with their addresses."""
        pieces = re.split(r'(/\*.*?\*/|&quot;.*?&quot;|"[^"\n]*")', text, flags=re.S)
        for at, piece in enumerate(pieces):
            if at % 2:
                pieces[at] = '<span class="comment">%s</span>' % piece if piece.startswith("/*") else piece
            else:
                pieces[at] = re.sub(r"\b(?:(?:struct|enum|union) )?\w+\b",
                                    lambda m: '<a href="%s">%s</a>' % (self.addresses[m[0]], m[0]) if m[0] in self.addresses else m[0], piece)
        return "".join(pieces)

    def guide_link(self, path, target, more, text):
        if re.match(r"[a-z]+:", target):
            return '<a href="%s"%s>%s</a>' % (target, more, text)
        file, _, fragment = target.partition("#")
        there = os.path.normpath(os.path.join(os.path.dirname(path), file)) if file else path
        page = self.guides.get(there) or self.guides.get(os.path.join(there, "README.md"))
        header = next((header_file(o) for o in self.overviews if os.path.join("include", o.header.include) == there), None)
        if not page and not header:
            return text
        return '<a href="%s"%s>%s</a>' % ((page or header) + ("#" + fragment if fragment else ""), more, text)

    def index_guide(self, path, title, body):
        pieces = re.split(r'(?=<h[123][ >])', body)
        for piece in pieces:
            head = re.match(r'<h([123])(?: id="([^"]*)")?>(.*?)</h\1>', piece, re.S)
            if head:
                text = plain(piece[head.end():])
                own = plain(head[3])
                self.index.append([own, self.guides[path] + ("#" + head[2] if head[2] and head[1] != "1" else ""),
                                   "guide" if own == title else title, text[:LIMIT_BEGIN + 1], text.lower()[:LIMIT_TEXT * 4]])

    # ---- pages -------------------------------------------------------------------------------------

    def navigation(self, here):
        def entry(file, text):
            return '<li><a href="%s"%s>%s</a></li>' % (file, ' aria-current="page"' if file == here else "", html.escape(text))
        lines = ['<nav class="side"><details open><summary>Contents</summary>']
        if self.guides:
            lines += ["<h2>Guides</h2><ul>", *[entry(file, title_of(path)) for path, file in self.guides.items()], "</ul>"]
        lines += ["<h2>Headers</h2><ul>", *[entry(header_file(o), o.header.include) for o in self.overviews], "</ul>"]
        return lines + ["</details></nav>"]

    def put(self, file, title, lines):
        text = PAGE % {"mark": MARK, "title": html.escape(title), "version": man.version(),
                       "navigation": "\n".join(self.navigation(file)), "body": "\n".join(lines)}
        with open(os.path.join(self.folder, file), "w") as out:
            out.write(text)

    def write(self):
        for overview in self.overviews:
            self.header(overview)
        for path in self.guides:
            self.guide(path)
        lines = ["<h1>libtdpmmu</h1>", '<p class="lead">%s.</p>' % html.escape(capital(self.overviews[0].summary())),
                 "<p>Press <kbd>/</kbd> to search names, headers and guides.</p>"]
        if self.guides:
            lines += ["<h2>Guides</h2>", '<ul class="cards">']
            about = {}
            for entry in self.index:  # A guide may have its first words below a heading: #... is of the same page.
                entry = [entry[0], entry[1].partition("#")[0], entry[2], entry[3]]
                about.setdefault(entry[1], entry)
                about[entry[1]][3] = about[entry[1]][3] or entry[3]
            lines += ['<li><a href="%s">%s</a><span>%s</span></li>' % (file, html.escape(about[file][0]), html.escape(beginning(about[file][3])))
                      for file in self.guides.values()] + ["</ul>"]
        self.put("index.html", "libtdpmmu", lines + ["<h2>Headers</h2>", *self.header_list()])
        for part in ("style.css", "search.js"):
            shutil.copyfile(os.path.join(PARTS, part), os.path.join(self.folder, part))
        with open(os.path.join(self.folder, "index.js"), "w") as out:
            out.write("// Written by scripts/htmldocs.py.\nconst INDEX = %s;\n" % json.dumps(self.index, ensure_ascii=False, indent=0))


PAGE = """<!DOCTYPE html>
<html lang="en">
%(mark)s
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>%(title)s - libtdpmmu</title>
<link rel="stylesheet" href="style.css">
<script src="index.js" defer></script>
<script src="search.js" defer></script>
</head>
<body>
<header class="top"><a class="home" href="index.html">libtdpmmu <span class="version">%(version)s</span></a>
<div class="search" role="search" hidden><input type="search" placeholder="Search ( / )" aria-label="Search" autocomplete="off"
 role="combobox" aria-expanded="false" aria-controls="results"><ul class="results" id="results" role="listbox" hidden></ul></div></header>
<div class="frame">
%(navigation)s
<main>
%(body)s
</main>
</div>
</body>
</html>
"""


def anchor(name):
    return name.replace(" ", "-")


def header_file(overview):
    return overview.header.name + ".h.html"


def enumerators(member):
    return re.findall(r"^ +(\w+)(?: = [^,\n]+)?,", headers.without_comments(member.text), re.M) if member.name.startswith("enum ") else []


def names_of(overview):
    return [name for page in overview.pages for name in page.names] + \
           [member.name for _, members, _ in overview.types + overview.others for member in members]


def title_of(path):
    with open(os.path.join(TOP, path)) as file:
        return plain(re.search(r"^# (.*)$", file.read(), re.M)[1].replace("`", ""))


def guide_name(path):
    name = path[:-3]
    return name[5:] if name.startswith("docs/") else name


def beginning(text):
    return text if len(text) < LIMIT_BEGIN else text[:LIMIT_BEGIN].rpartition(" ")[0].rstrip(":.,;(") + " ..."


def guides():
    """{path of a guide: its page}: docs/*.md, README.md and the Markdown that they lead to."""
    there = sorted(os.path.relpath(path, TOP) for path in glob.glob(os.path.join(TOP, "docs", "*.md")) + glob.glob(os.path.join(TOP, "*.md")))
    todo = [path for path in GUIDES_FIRST if path in there] + [path for path in there if path not in GUIDES_FIRST]
    found = {}
    while todo:
        path = todo.pop(0)
        if path in found or not os.path.isfile(os.path.join(TOP, path)):
            continue
        found[path] = (guide_name(path) + ".html").replace("/", "-")
        with open(os.path.join(TOP, path)) as file:
            links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", file.read())
        for link in links:
            target = os.path.normpath(os.path.join(os.path.dirname(path), link))
            if os.path.isdir(os.path.join(TOP, target)):
                target = os.path.join(target, "README.md")
            if target.endswith(".md") and not target.startswith(".."):
                todo.append(target)
    return found


def forget_old(folder):
    """Nothing is removed that this program has not written."""
    for path in glob.glob(os.path.join(folder, "*.html")):
        with open(path, errors="replace") as file:
            if MARK in file.read(300):
                os.remove(path)


def check(folder):
    problems, passed, anchors, text = [], 0, {}, {}
    for path in sorted(glob.glob(os.path.join(folder, "*.html"))):
        with open(path) as file:
            name = os.path.basename(path)
            text[name] = file.read()
        ids = re.findall(r'\bid="([^"]*)"', text[name])
        anchors[name] = set(ids)
        problems += ["%s: the anchor %s is there twice" % (name, twice) for twice in sorted({i for i in ids if ids.count(i) > 1})]
    for name, content in text.items():
        for kind, target in re.findall(r'\b(href|src)="([^"]*)"', content):
            if re.match(r"https?:", target) and kind == "href":
                continue
            file, _, fragment = html.unescape(target).partition("#")
            file = file or name
            if not os.path.exists(os.path.join(folder, file)) or fragment and fragment not in anchors.get(file, ()):
                problems.append("%s: %s leads nowhere" % (name, target))
            else:
                passed += 1
    for name in sorted(symbols.declared() - symbols.VARIABLES):
        if not any(name in found for file, found in anchors.items() if file.endswith(".h.html")):
            problems.append("%s() has no place" % name)
    for empty in re.findall(r'<li><a href="([^"]*)">[^\n]*<span></span></li>', text.get("index.html", "")):
        problems.append("index.html: the card of %s has no text" % empty)
    for path in guides() if markdown else ():
        if guides()[path] not in text:
            problems.append("%s has no page" % path)
    if not markdown:
        print("docs: there is no Markdown for python3 (Debian: python3-markdown): the guides were not converted")
    for problem in problems:
        print("docs: " + problem, file=sys.stderr)
    print("docs: %d passed, %d failed" % (passed, len(problems)))
    return 1 if problems or not passed else 0


def main():
    arguments = sys.argv[1:]
    try_system_python()
    if len(arguments) == 2 and arguments[0] == "--check":
        sys.exit(check(arguments[1]))
    if len(arguments) != 1 or arguments[0].startswith("-"):
        sys.exit(__doc__)
    try:
        os.makedirs(arguments[0], exist_ok=True)
        forget_old(arguments[0])
        Site(arguments[0]).write()
    except OSError as error:
        sys.exit("docs: %s: %s" % (error.filename, error.strerror))


if __name__ == "__main__":
    main()
