"""Words for emoji in many languages, from ``emojibase-data``."""

import json
from collections.abc import Iterable
from pathlib import Path

from mmkit.datasets.npm import read_members
from projects.emoji_clip.concepts import Concept, distinct, emoji_of


def add_words(concepts: Iterable[Concept], archive: Path) -> None:
    """Add names and tags to the captions of concepts, behind those they have.

    Args:
        concepts: The concepts; changed.
        archive: The package ``emojibase-data``.
    """
    for path, content in read_members(archive, "*/data.json").items():
        language = path.partition("/")[0]
        words = {emoji_of(entry["hexcode"]): [entry["label"], *entry.get("tags", [])] for entry in json.loads(content)}
        for concept in concepts:
            known = concept.captions.get(language, [])
            concept.captions[language] = distinct([*known, *words.get(concept.emoji, [])])
