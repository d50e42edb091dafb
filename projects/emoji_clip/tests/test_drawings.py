import io
import json
import tarfile

import numpy as np
import pytest

from projects.emoji_clip.concepts import Concept
from projects.emoji_clip.drawings import chars_of, emoji_names, iconify_drawings, plain_name, rasterize


RED, WHITE = [255, 0, 0], [255, 255, 255]


def _square(colour, width=8, height=8):
    return f'<path fill="{colour}" d="M0 0h{width}v{height}H0z"/>'


def _concept(characters, label):
    return Concept(characters, label, "objects", label, "train", {"en": [label]})


CONCEPTS = [
    _concept("\U0001f34e", "red apple"),
    _concept("\u2764\u200d\U0001f525", "heart on fire"),
    _concept("\U0001f380", "ribbon"),
]


@pytest.fixture
def archive(tmp_path):
    """A package of Iconify: an apple by character, a heart by its name now, a ribbon by the name of its character."""
    icons = {
        "icons": {
            "apple": {"body": _square("red")},
            "heart-on-fire": {"body": _square("red", 16), "width": 16},
            "something-else": {"body": _square("blue")},
        },
        "width": 8,
        "height": 8,
    }
    contents = {"icons.json": icons, "chars.json": {"1f34e": "apple", "1f600": "something-else"}}
    path = tmp_path / "vendor.tgz"
    with tarfile.open(path, "w:gz") as members:
        for name, content in contents.items():
            data = json.dumps(content).encode()
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(data)
            members.addfile(entry, io.BytesIO(data))
    return path


def test_icons_are_found_by_character_and_by_name(archive):
    drawings = iconify_drawings(archive, emoji_names(CONCEPTS, [archive]))
    assert set(drawings) == {"\U0001f34e", "\u2764\u200d\U0001f525"}
    assert 'viewBox="0 0 16 8"' in drawings["\u2764\u200d\U0001f525"]


def test_characters_lose_their_variation_selectors(archive):
    assert chars_of(archive) == {"\U0001f34e": "apple", "\U0001f600": "something-else"}


def test_names_of_vendors_and_of_characters_are_known_beside_labels(archive):
    names = emoji_names(CONCEPTS, [archive])
    assert names["redapple"] == names["apple"] == "\U0001f34e"
    assert "somethingelse" not in names


@pytest.mark.parametrize(
    ("one", "other"),
    [("Piñata", "pinata"), ("flag-for-flag-norway", "flag: Norway"), ("rock & roll", "Rock-and-roll"), ("t-shirt", "tshirt")],
)
def test_names_are_compared_without_accents_and_punctuation(one, other):
    assert plain_name(one) == plain_name(other)


@pytest.mark.parametrize(("width", "height"), [(8, 8), (16, 8), (8, 16)], ids=["square", "wide", "tall"])
def test_a_drawing_stands_in_the_middle_of_a_white_square(width, height):
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">{_square("red", width, height)}</svg>'
    image_HWC = rasterize(svg, 32).transpose(1, 2, 0)
    assert image_HWC.shape == (32, 32, 3)
    assert image_HWC.dtype == np.uint8
    assert image_HWC[16, 16].tolist() == RED
    assert image_HWC[0, 16].tolist() == (WHITE if width > height else RED)
    assert image_HWC[16, 0].tolist() == (WHITE if height > width else RED)
