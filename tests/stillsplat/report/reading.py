"""Reads a page as a strict parser does: elements with their attributes, and text, with every element closed."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

#: elements without an end
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}


@dataclass
class Element:
    """An element with the text directly and indirectly in it."""

    name: str
    attributes: dict[str, str]
    parents: list[str]
    text: str = ""


@dataclass
class Page(HTMLParser):
    """The elements of a page in order. Raises `AssertionError` for an element that is closed twice, late or never."""

    html: str
    elements: list[Element] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self._open: list[Element] = []
        self.feed(self.html)
        self.close()
        assert not self._open, f"not closed: {[element.name for element in self._open]}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(set(names)) == len(names), f"<{tag}> has an attribute twice: {names}"
        attributes = {name: value or "" for name, value in attrs}
        element = Element(tag, attributes, [parent.name for parent in self._open])
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open and self._open[-1].name == tag, f"</{tag}> closes {[item.name for item in self._open[-3:]]}"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        for element in self._open:
            element.text += data

    def named(self, name: str) -> list[Element]:
        """The elements called `name`."""
        return [element for element in self.elements if element.name == name]

    def values(self, attribute: str) -> list[str]:
        """All values of an attribute."""
        return [element.attributes[attribute] for element in self.elements if attribute in element.attributes]


def check_accessible(page: Page) -> None:
    """What every reader needs: names of images, controls and regions, one main heading, ids that are unique."""
    ids = page.values("id")
    assert len(set(ids)) == len(ids)
    assert [element.attributes.get("lang") for element in page.named("html")] == ["en"]
    assert len(page.named("h1")) == len(page.named("main")) == 1
    assert all("alt" in image.attributes for image in page.named("img"))
    for control in page.named("input"):
        assert "label" in control.parents or control.attributes.get("aria-label")
    for button in page.named("button"):
        assert button.text.strip()
    for svg in page.named("svg"):
        assert svg.attributes.get("aria-label") or svg.attributes.get("aria-hidden") == "true"
    for heading in (element for table in ["th"] for element in page.named(table)):
        assert heading.attributes.get("scope") in ("row", "col")
    for name in page.values("aria-labelledby"):
        assert name in ids
    for region in (element for element in page.elements if element.attributes.get("role") == "region"):
        assert region.attributes["tabindex"] == "0" and region.attributes["aria-label"]


def check_self_contained(page: Page) -> None:
    """Nothing is loaded from anywhere, and links lead to the page itself or to files beside it."""
    assert not {"link", "iframe", "object", "embed", "base", "form"} & {element.name for element in page.elements}
    for source in [*page.values("src"), *page.values("poster"), *page.values("srcset")]:
        assert source.startswith(("data:image/jpeg;base64,", "data:video/mp4;base64,"))
    ids = page.values("id")
    for address in page.values("href"):
        assert address.startswith("./") or address.removeprefix("#") in ids, address
    for text in (element.text for element in page.named("style")):
        assert "@import" not in text and text.count("url(") == text.count('url("data:image/svg+xml,')
    policy = [value for value in page.values("content") if "default-src" in value]
    assert len(policy) == 1 and policy[0].startswith("default-src 'none'; img-src data:; media-src data:;")
