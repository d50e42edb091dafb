import gzip
import json
import pickle
from pathlib import Path

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from mmkit.datasets.tokenizers import CLIPTokenizer
from mmkit.datasets.tokenizers import clip as clip_module
from mmkit.datasets.tokenizers.bpe import END, START, BytePairEncoder, byte_symbols, split_words


MERGES = [("c", "a"), ("ca", "t</w>"), ("t", "h"), ("th", "e</w>"), ("a", "t</w>"), ("i", "t</w>")]
# CLIP's pattern (https://github.com/openai/CLIP, clip/simple_tokenizer.py), for the `regex` package
PATTERN = regex.compile(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")


@pytest.fixture
def merges_file(tmp_path: Path) -> Path:
    path = tmp_path / "merges.txt"
    path.write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in MERGES), encoding="utf-8")
    return path


def token_strings(tokenizer: CLIPTokenizer, text: str) -> list[str]:
    symbols = tokenizer._encoder.symbols
    return [symbols[int(token)] for token in tokenizer(text)["text"]]


@given(st.text(alphabet=st.sampled_from("ab'sdlrevtm 12²Ⅷé漢!?._😀-")))
def test_words_are_split_as_by_the_published_pattern(text: str) -> None:
    assert list(split_words(text)) == PATTERN.findall(text)


def test_pairs_are_merged_in_the_order_in_which_they_were_learned(merges_file: Path) -> None:
    tokenizer = CLIPTokenizer(str(merges_file))
    assert token_strings(tokenizer, "The CAT") == [START, "the</w>", "cat</w>", END]
    assert token_strings(tokenizer, "cats") == [START, "ca", "t", "s</w>", END]


@given(word=st.text(alphabet="abc", min_size=1, max_size=8))
def test_merging_matches_a_naive_loop_over_the_learned_pairs(word: str) -> None:
    merges = [("a", "b"), ("ab", "c"), ("b", "c</w>"), ("a", "a"), ("aa", "ab"), ("c", "c"), ("cc", "a</w>")]
    parts = [*word[:-1], word[-1] + "</w>"]
    while True:  # apply the first learned pair that occurs, everywhere from the left, until none occurs
        present = [pair for pair in merges if any(tuple(parts[i : i + 2]) == pair for i in range(len(parts)))]
        if not present:
            break
        merged: list[str] = []
        for part in parts:
            previous_was_merged = merged and merged[-1].endswith("\0")
            if merged and not previous_was_merged and (merged[-1], part) == present[0]:
                merged[-1] += part + "\0"
            else:
                merged.append(part)
        parts = [part.replace("\0", "") for part in merged]
    assert BytePairEncoder({}, merges)._merge(word) == parts


def test_bytes_have_distinct_printable_symbols() -> None:
    assert len(set(byte_symbols())) == 256
    assert all(symbol.isprintable() and not symbol.isspace() for symbol in byte_symbols())


@pytest.mark.parametrize(
    "text", ["a photo of a cat.", "it's 2024 &amp; don't they'll", "naïve café", "漢字 😀", "", "  Two\n spaces  "]
)
def test_ids_are_those_of_open_clip(text: str) -> None:
    open_clip_tokenizer = pytest.importorskip("open_clip.tokenizer").SimpleTokenizer()
    tokenizer = CLIPTokenizer()
    expected = open_clip_tokenizer.encode(text)
    assert tokenizer(text)["text"].tolist() == [tokenizer.bos_id, *expected, tokenizer.eos_id]
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.vocab_size) == (49406, 49407, 49408)
    assert tokenizer.decode(tokenizer(text)["text"]) == open_clip_tokenizer.decode(expected).strip()


def test_every_form_of_the_vocabulary_gives_the_same_ids(merges_file: Path, tmp_path: Path) -> None:
    tokenizer = CLIPTokenizer(str(merges_file))
    vocabulary = tokenizer._encoder.vocabulary
    zipped = tmp_path / "merges.txt.gz"
    zipped.write_bytes(gzip.compress(merges_file.read_bytes()))
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "tokenizer.json").write_text(json.dumps({"model": {"vocab": vocabulary, "merges": [" ".join(m) for m in MERGES]}}))
    listed = tmp_path / "tokenizer.json"
    listed.write_text(json.dumps({"model": {"vocab": vocabulary, "merges": MERGES}}))
    expected = tokenizer("the cat sat")["text"].tolist()
    for path in (zipped, tmp_path, alone, listed):
        assert CLIPTokenizer(str(path))("the cat sat")["text"].tolist() == expected, path


def test_ids_are_those_of_transformers_for_the_same_files(merges_file: Path) -> None:
    transformers = pytest.importorskip("transformers")
    tokenizer = CLIPTokenizer(str(merges_file))
    theirs = transformers.CLIPTokenizer(vocab=tokenizer._encoder.vocabulary, merges=MERGES)
    for text in ("the cat at it", "That's 12 cats!"):
        assert tokenizer(text)["text"].tolist() == theirs(text)["input_ids"]


def test_an_end_token_written_in_a_text_is_text(merges_file: Path) -> None:
    tokenizer = CLIPTokenizer(str(merges_file))
    assert tokenizer(f"a {END} b")["text"].tolist().count(tokenizer.eos_id) == 1


def test_a_long_text_is_cut_to_77_tokens_and_ends_with_the_end_token(merges_file: Path) -> None:
    tokenizer = CLIPTokenizer(str(merges_file))
    ids = tokenizer("the " * 100)["text"]
    assert ids.shape == (77,)
    assert ids[-1] == tokenizer.eos_id


def test_a_tokenizer_travels_to_worker_processes(merges_file: Path) -> None:
    tokenizer = CLIPTokenizer(str(merges_file))
    assert pickle.loads(pickle.dumps(tokenizer))("cat")["text"].tolist() == tokenizer("cat")["text"].tolist()


def test_a_missing_vocabulary_says_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clip_module, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match=r"found no vocabulary.*Give `vocab_file`.*pip install open_clip_torch"):
        CLIPTokenizer()
    with pytest.raises(FileNotFoundError, match=r"nothing' does not exist.*Give `vocab_file`"):
        CLIPTokenizer(str(tmp_path / "nothing"))


def test_a_vocabulary_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"neither `vocab\.json` with `merges\.txt` nor `tokenizer\.json`"):
        CLIPTokenizer(str(tmp_path))
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {"vocab": []}}))
    with pytest.raises(ValueError, match="describes no byte-pair encoding; use HFTokenizer"):
        CLIPTokenizer(str(tmp_path))
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {"vocab": {"a": 0}, "merges": []}}))
    with pytest.raises(ValueError, match=r"is not CLIP's: it lacks '<\|startoftext\|>'"):
        CLIPTokenizer(str(tmp_path))
    (tmp_path / "spiece.model").write_text("")
    with pytest.raises(ValueError, match=r"spiece.model is no CLIP vocabulary"):
        CLIPTokenizer(str(tmp_path / "spiece.model"))
