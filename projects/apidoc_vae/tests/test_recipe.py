import gzip
import hashlib
import json
import zipfile

import pytest
from rich.console import Console

from mmkit.datasets.cache import sha256_of
from mmkit.datasets.preparation import prepare
from mmkit.datasets.pypi import Wheel
from projects.apidoc_vae import recipe as recipe_module
from projects.apidoc_vae.plain_text import plain_text
from projects.apidoc_vae.recipe import APIDocsRecipe, documentation, split_of


MODEL = {
    "operations": {"Put": {"documentation": "<p>Puts a <code>Key</code>.</p>", "errors": [{"documentation": "<p>No key.</p>"}]}},
    "shapes": {"documentation": {"type": "string", "documentation": "<p>Puts a Key.</p>\n"}, "Empty": {"documentation": "<p/>"}},
}


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    """The data set made of a wheel with two models, one of them packed."""
    monkeypatch.setenv("MMKIT_DATA", str(tmp_path))
    path = tmp_path / "downloads" / "botocore-1.44.5-py3-none-any.whl"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("botocore/data/b/2020/service-2.json.gz", gzip.compress(json.dumps(MODEL).encode()))
        archive.writestr("botocore/data/a/2020/service-2.json", json.dumps({"documentation": "<p>Says ‘a’.<br>Twice.</p>"}))
        archive.writestr("botocore/data/a/2020/paginators-1.json", json.dumps({"documentation": "Not this."}))
    monkeypatch.setattr(recipe_module, "WHEEL", Wheel("botocore", "1.44.5", sha256_of(path), "Apache-2.0"))
    return prepare(APIDocsRecipe(), console=Console(quiet=True))


def test_each_text_is_in_one_split_and_once(prepared):
    texts = {split: (prepared / f"{split}.txt").read_text(encoding="utf-8").splitlines() for split in ("train", "val", "test")}
    assert sorted(line for lines in texts.values() for line in lines) == ["No key.", "Puts a Key.", "Says ‘a’. Twice."]
    for split, lines in texts.items():
        for text in lines:
            percent = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") % 100
            assert split == ("train" if percent < 90 else "val" if percent < 95 else "test")


def test_the_manifest_tells_source_licence_and_counts(prepared):
    manifest = json.loads((prepared / "manifest.json").read_text())
    counts = manifest["counts"]
    assert (counts["services"], counts["texts"]) == (2, 3)
    assert sum(counts.get(split, 0) for split in ("train", "val", "test")) == 3
    assert manifest["licences"] == {"apidocs": "Apache-2.0"}
    assert "sha256" in manifest["split_rule"]


def test_documentation_is_found_at_any_depth_in_order():
    assert list(documentation(MODEL)) == ["<p>Puts a <code>Key</code>.</p>", "<p>No key.</p>", "<p>Puts a Key.</p>\n", "<p/>"]


def test_about_nine_of_ten_texts_are_for_training():
    splits = [split_of(f"text {number}") for number in range(4000)]
    assert splits.count("train") / 4000 == pytest.approx(0.90, abs=0.02)
    assert splits.count("val") / 4000 == pytest.approx(0.05, abs=0.015)


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("", ""),
        ("no markup at all", "no markup at all"),
        ("<p>One.</p><p>Two.</p>", "One. Two."),
        ("an <i>in</i><b>line</b> element", "an inline element"),
        ("<ul><li>a</li><li>b</li></ul>", "a b"),
        ("tabs\t, \u00a0 and \u2028 lines\r\n", "tabs , and lines"),
        ("1 &lt; 2 &#38; 3", "1 < 2 & 3"),
        ("a<br/>b<!-- comment -->", "a b"),
        ("cut <code>short", "cut short"),
        ("a & b < c", "a & b < c"),
    ],
)
def test_html_becomes_one_line_of_text(html, text):
    assert plain_text(html) == text
