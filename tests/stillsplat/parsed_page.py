"""An HTML page as its parser reads it."""

from html.parser import HTMLParser
from pathlib import Path


class Page(HTMLParser):
    """Links, images and text of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.images: list[str] = []
        self.text = ""
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if tag == "a":
            self.links.append(found["href"])
        if found.get("src"):
            self.images.append(found["src"])

    def handle_data(self, data):
        self.text += data
