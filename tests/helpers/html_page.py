"""A page as a reader of HTML sees it, for tests."""

from __future__ import annotations

from html.parser import HTMLParser


class Page(HTMLParser):
    """Elements, ids, heading levels and visible text of a page."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.text, self.scripts = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag):
        if tag in self.open:
            while self.open.pop() != tag:
                pass

    def handle_data(self, data):
        where = self.scripts if "script" in self.open else self.text
        if "style" not in self.open:
            where.append(data)


def seen(text):
    return " ".join(" ".join(Page(text).text).split())
