"""HTML as plain text in one line."""

from html.parser import HTMLParser


#: Elements within a line of text; all others begin and end one, so that what they stand between is not one word.
INLINE = frozenset(
    {"a", "abbr", "b", "big", "cite", "code", "dfn", "em", "font", "i", "kbd", "mark", "q", "s", "samp", "small", "span"}
    | {"strong", "sub", "sup", "tt", "u", "var"}
)


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []

    def handle_data(self, data: str) -> None:
        self.pieces.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in INLINE:
            self.pieces.append(" ")

    def handle_endtag(self, tag: str) -> None:
        self.handle_starttag(tag, [])


def plain_text(html: str) -> str:
    """The text of an HTML fragment without its elements, and with one space for any white space.

    Example:
        >>> plain_text("<p>Deletes the <code>Key</code>s.</p><ul> <li>All &amp; each</li></ul>")
        'Deletes the Keys. All & each'
    """
    parser = _Text()
    parser.feed(html)
    parser.close()
    return " ".join("".join(parser.pieces).split())
