#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Is each element of a page closed, in its turn?  Usage: html_closed.py FILE"""
import html.parser
import sys

EMPTY = {"meta", "br", "rect", "path", "link", "hr", "img"}


class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        if tag not in EMPTY:
            self.open.append((tag, self.getpos()))

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        if not self.open or self.open[-1][0] != tag:
            sys.exit("%s:%d: </%s> closes %s" % (sys.argv[1], self.getpos()[0], tag, self.open[-1:] or "nothing"))
        self.open.pop()


page = Page()
with open(sys.argv[1], encoding="utf-8") as file:
    page.feed(file.read())
if page.open:
    sys.exit("%s: not closed: %s" % (sys.argv[1], page.open))
