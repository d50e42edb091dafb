"""The recipe of the data set ``moses``: molecules as SMILES strings, read out of a wheel that is never installed."""

import csv
import gzip
import io
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from mmkit.conf.store import external_store
from mmkit.datasets.pypi import Wheel, read_wheel
from mmkit.datasets.recipes import Facts, Preparation, Recipe
from mmkit.errors import RefusedError


WHEEL = Wheel("molsets", "0.3.1", "7f4450e3ebecebe79c3a2a55950c93daddee071120daf64a163d03481e811d34", "MIT")
FILES = ("train", "test", "test_scaffolds")


@external_store(group="data", name="moses")
class MosesRecipe(Recipe):
    """1.9 million drug-like molecules of the benchmark MOSES (Polykovskiy et al. 2020, https://arxiv.org/abs/1811.12823).

    The benchmark's wheel pins packages of 2020; its three tables are read without installing it. Molecules of
    ``test_scaffolds`` have Bemis–Murcko scaffolds that no molecule of ``train`` or ``test`` has.

    Files, one SMILES string a line: ``train.txt`` (1,584,663), ``test.txt`` (176,074), ``test_scaffolds.txt`` (176,225).
    """

    name: ClassVar[str] = "moses"
    summary: ClassVar[str] = "1.9 million drug-like molecules as SMILES strings (MOSES); 52 MB through pip."
    version: ClassVar[int] = 1

    def build(self, preparation: Preparation) -> Facts:
        wheel = WHEEL.fetch(preparation.downloads)
        counts = {}
        for name in preparation.track(FILES, "Read"):
            molecules = list(read_smiles(wheel, f"moses/dataset/data/{name}.csv.gz"))
            (preparation.folder / f"{name}.txt").write_text("\n".join(molecules) + "\n", encoding="ascii")
            counts[name] = len(molecules)
        return {
            "sources": [WHEEL.described() | {"origin": "https://github.com/molecularsets/moses"}],
            "licences": {"moses": WHEEL.licence},
            "counts": counts,
        }


def read_smiles(wheel: Path, path: str) -> Iterator[str]:
    """The column ``SMILES`` of a packed table within a wheel.

    Raises:
        RefusedError: There is no such table, or it has no such column.
    """
    for _, content in read_wheel(wheel, path):
        rows = csv.DictReader(io.TextIOWrapper(gzip.GzipFile(fileobj=io.BytesIO(content)), encoding="ascii", newline=""))
        if "SMILES" not in (rows.fieldnames or []):
            raise RefusedError(f"{path} of {wheel.name} has the columns {rows.fieldnames}, none is 'SMILES'.")
        yield from (row["SMILES"] for row in rows)
