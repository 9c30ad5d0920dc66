"""The model card as HTML, and the images that it names."""

import struct
from pathlib import Path
from urllib.parse import quote, unquote

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

PNG = b"\x89PNG\r\n\x1a\n"
# Wide tables scroll in themselves, by keyboard as well.
TABLE = '<div class="scroll" role="region" aria-label="table" tabindex="0"><table>\n'


def read(folder: Path) -> tuple[Markup, dict[str, bytes]]:
    """The card of a model folder and its PNG files by name; nothing where there is no card."""
    path = folder / "card.md"
    if not path.is_file():
        return Markup(), {}
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    markdown.add_render_rule("table_open", lambda *_: TABLE)
    markdown.add_render_rule("table_close", lambda *_: "</table></div>\n")
    tokens = markdown.parse(path.read_text(encoding="utf-8", errors="replace"))
    images: dict[str, bytes] = {}
    for token in tokens:
        if token.type.startswith("heading"):  # the page has a first heading of its own
            token.tag = f"h{min(int(token.tag[1]) + 1, 6)}"
        for child in token.children or ():
            if child.type == "image":
                images |= image(child, folder)
    return Markup(markdown.renderer.render(tokens, markdown.options, {})), images


def image(token: Token, folder: Path) -> dict[str, bytes]:
    """Let an image's token ask this service for the file; of any other one the words stay."""
    name = unquote(str(token.attrs["src"]))
    path = folder / name
    content = path.read_bytes() if name == path.name and path.is_file() else b""
    if not content.startswith(PNG):
        token.type = "text"
        return {}
    width, height = struct.unpack(">II", content[16:24])
    token.attrs |= {"src": f"web/card/{quote(name)}", "loading": "lazy"}
    token.attrs |= {"width": width, "height": height}
    return {name: content}
