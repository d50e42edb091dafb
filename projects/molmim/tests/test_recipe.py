import gzip
import json
import zipfile

import pytest
from rich.console import Console

from mmkit.datasets.cache import sha256_of
from mmkit.datasets.preparation import prepare
from mmkit.datasets.pypi import Wheel
from mmkit.errors import RefusedError
from projects.molmim import recipe as recipe_module
from projects.molmim.recipe import MosesRecipe, read_smiles


TABLES = {
    "train": "SMILES\nCCO\nc1ccccc1\n",
    "test": "SMILES\nCCN\n",
    "test_scaffolds": 'SMILES,SPLIT\r\n"C(=O)O",a\r\nC#N,b\r\n',
}


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """A wheel with three small tables, lying where downloads lie."""
    monkeypatch.setenv("MMKIT_DATA", str(tmp_path))
    path = tmp_path / "downloads" / "molsets-0.3.1-py3-none-any.whl"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        for name, table in TABLES.items():
            archive.writestr(f"moses/dataset/data/{name}.csv.gz", gzip.compress(table.encode()))
        archive.writestr("moses/dataset/data/other.csv.gz", gzip.compress(b"MOLECULE\nC\n"))
    monkeypatch.setattr(recipe_module, "WHEEL", Wheel("molsets", "0.3.1", sha256_of(path), "MIT"))
    return path


def test_each_table_becomes_a_file_with_a_molecule_a_line(wheel):
    folder = prepare(MosesRecipe(), console=Console(quiet=True))
    assert {path.name: path.read_text() for path in folder.glob("*.txt")} == {
        "train.txt": "CCO\nc1ccccc1\n",
        "test.txt": "CCN\n",
        "test_scaffolds.txt": "C(=O)O\nC#N\n",
    }
    assert MosesRecipe().locate() == folder


def test_the_manifest_tells_source_licence_and_counts(wheel):
    manifest = json.loads((prepare(MosesRecipe(), console=Console(quiet=True)) / "manifest.json").read_text())
    assert manifest["counts"] == {"train": 2, "test": 1, "test_scaffolds": 2}
    assert manifest["licences"] == {"moses": "MIT"}
    assert manifest["sources"][0]["sha256"] == sha256_of(wheel)


def test_a_table_without_molecules_is_refused(wheel):
    with pytest.raises(RefusedError, match=r"other.csv.gz of molsets-0.3.1-py3-none-any.whl has the columns \['MOLECULE'\]"):
        list(read_smiles(wheel, "moses/dataset/data/other.csv.gz"))


def test_the_source_is_pinned():
    assert recipe_module.WHEEL.file_name == "molsets-0.3.1-py3-none-any.whl"
    assert len(recipe_module.WHEEL.sha256) == 64
