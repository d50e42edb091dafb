"""Concepts: the emoji of Unicode 17 without skin tones, what they are called, and how they are split.

``groups.json`` lists them in Unicode's order under the names of their nine groups, without variation selectors.
``twins.json`` lists stems of which a vendor draws concepts with equal pixels: a tricolour in one colour is like any other.
"""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import emoji


VARIATION_SELECTOR = "\ufe0f"
PERSON = re.compile(r"(wo)?m[ae]n|person|people|boys?|girls?|child(ren)?|adult|old(er)?|mrs?|mx")
NUMBER = re.compile(r"\d.*|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve")
CLOCK = re.compile(r"clock|oclock|thirty")

# Salted so that the test fold has the size of the galleries of earlier figures; chosen by size, before any training.
FOLD_SALT = "emoji:"
SPLIT_RULE = (
    "sha256('emoji:' + stem), first 8 hexadecimal digits modulo 100: below 80 train, below 90 val, otherwise test. The stem of a "
    "concept is its English name without person words, numbers and clock words; of a flag, its country; concepts that a vendor "
    "draws with equal pixels share one."
)


@dataclass
class Concept:
    """One emoji.

    Attributes:
        emoji: Its characters without variation selectors; identifies it.
        label: English name.
        group: One of the nine groups of Unicode.
        stem: What it shares with its variants; all of a stem are in one fold.
        fold: ``"train"``, ``"val"`` or ``"test"``.
        captions: By language, its name and then other words for it.
    """

    emoji: str
    label: str
    group: str
    stem: str
    fold: str
    captions: dict[str, list[str]] = field(default_factory=dict)

    def row(self) -> dict[str, str]:
        """What the data set's table says of it; captions are kept by language."""
        return {name: value for name, value in asdict(self).items() if name != "captions"}


def emoji_of(code: str) -> str:
    r"""The characters of hyphenated hexadecimal code points, without variation selectors.

    Example:
        >>> emoji_of("2764-fe0f-200d-1f525") == "\u2764\u200d\U0001f525"
        True
    """
    return "".join(chr(int(point, 16)) for point in code.split("-")).replace(VARIATION_SELECTOR, "")


def concepts() -> list[Concept]:
    """All concepts, with the captions that the package ``emoji`` has for them."""
    names = _names()
    return [
        _concept(characters, group, names[characters])
        for group, members in _read("groups.json").items()
        for characters in members
    ]


def stem_of(label: str) -> str:
    """What a concept shares with its variants.

    Example:
        >>> stem_of("woman health worker"), stem_of("two-thirty"), stem_of("flag: Japan")
        ('health worker', 'clock', 'flag: japan')
    """
    label = label.lower().replace("’", "").replace("'", "")
    stem = label if label.startswith("flag: ") else " ".join(_stem_words(label))
    return _TWINS.get(stem, stem)


def fold_of(stem: str) -> str:
    """The fold of a stem; see ``SPLIT_RULE``."""
    percent = int(hashlib.sha256((FOLD_SALT + stem).encode()).hexdigest()[:8], 16) % 100
    return "train" if percent < 80 else "val" if percent < 90 else "test"


def _read(name: str) -> Any:
    return json.loads(Path(__file__).with_name(name).read_text(encoding="utf-8"))


def _stem_words(label: str) -> list[str]:
    words = [word for word in re.findall(r"[^\W_]+", label) if not NUMBER.fullmatch(word)]
    if words and all(map(CLOCK.fullmatch, words)):
        return ["clock"]
    return [word for word in words if not PERSON.fullmatch(word)] or ["person"]


_TWINS = {stem: same[0] for same in _read("twins.json") for stem in same}


def _concept(characters: str, group: str, names: dict[str, list[str]]) -> Concept:
    is_country = group == "flags" and len(characters) > 1 and "\u200d" not in characters
    if is_country:
        names = {**names, "en": [f"flag: {names['en'][0]}", *names["en"]]}
    label = names["en"][0]
    stem = stem_of(label)
    return Concept(characters, label, group, stem, fold_of(stem), names)


def _names() -> dict[str, dict[str, list[str]]]:
    """By emoji and language: its name, in English followed by its aliases."""
    emoji.config.load_language()
    names: dict[str, dict[str, list[str]]] = {}
    for characters, entry in emoji.EMOJI_DATA.items():
        spoken = {language: [_spoken(entry[language])] for language in emoji.LANGUAGES if language in entry}
        spoken["en"] = distinct(map(_spoken, [entry["en"], *entry.get("alias", [])]))
        names.setdefault(characters.replace(VARIATION_SELECTOR, ""), spoken)
    return names


def distinct(words: Iterable[str]) -> list[str]:
    """Words without repetitions in another case, in the order of their first occurrence."""
    first: dict[str, str] = {}
    for word in words:
        first.setdefault(word.casefold(), word)
    return list(first.values())


def _spoken(name: str) -> str:
    """A name such as ``:red_heart:`` as it is spoken."""
    return name.strip(":").replace("_", " ")
