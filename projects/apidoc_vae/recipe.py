"""The recipe of the data set ``apidocs``: what the operations and fields of web services are for, in plain text."""

import gzip
import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, ClassVar

from mmkit.conf.store import external_store
from mmkit.datasets.pypi import Wheel, read_wheel
from mmkit.datasets.recipes import Facts, Preparation, Recipe
from projects.apidoc_vae.plain_text import plain_text


WHEEL = Wheel("botocore", "1.44.5", "8f16a56d1dff125dd65322ae021efa7ba5195a6db5102b96862566055b748921", "Apache-2.0")
MODELS = "botocore/data/*/*/service-2.json*"
SPLITS = ("train", "val", "test")
SPLIT_RULE = "sha256 of the text, first 8 hexadecimal digits modulo 100: below 90 train, below 95 val, otherwise test."


@external_store(group="data", name="apidocs")
class APIDocsRecipe(Recipe):
    """Documentation of the services of AWS as the package ``botocore`` has it: every operation, structure and field.

    The texts are read out of the wheel without installing it, stripped of HTML, and each is taken once. Texts that differ in a
    name only are common, and may be in different splits.

    Files, one text a line: ``train.txt``, ``val.txt``, ``test.txt``.
    """

    name: ClassVar[str] = "apidocs"
    summary: ClassVar[str] = "Documentation texts of web services from botocore, one a line; 17 MB through pip."
    version: ClassVar[int] = 1

    def build(self, preparation: Preparation) -> Facts:
        wheel = WHEEL.fetch(preparation.downloads)
        models = list(read_wheel(wheel, MODELS))
        seen: dict[str, str] = {}  # split by text; a dict keeps the order
        for _, content in preparation.track(models, "Read"):
            for html in documentation(json.loads(gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content)):
                text = plain_text(html)
                if text not in seen:
                    seen[text] = split_of(text)
        seen.pop("", None)
        for split in SPLITS:
            lines = [text + "\n" for text, own in seen.items() if own == split]
            (preparation.folder / f"{split}.txt").write_text("".join(lines), encoding="utf-8")
        return {
            "sources": [WHEEL.described() | {"origin": "https://github.com/boto/botocore"}],
            "licences": {"apidocs": WHEEL.licence},
            "split_rule": SPLIT_RULE,
            "counts": {"services": len(models), "texts": len(seen), **Counter(seen.values())},
        }


def documentation(model: Any) -> Iterator[str]:
    """Every string under a key ``documentation`` of a service's model, in its order, at any depth."""
    if isinstance(model, dict):
        for key, value in model.items():
            if key == "documentation" and isinstance(value, str):
                yield value
            else:
                yield from documentation(value)
    elif isinstance(model, list):
        for value in model:
            yield from documentation(value)


def split_of(text: str) -> str:
    """The split of a text; see :data:`SPLIT_RULE`."""
    percent = int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) % 100
    return "train" if percent < 90 else "val" if percent < 95 else "test"
