import pytest

from mmkit.datasets.tokenizers import ByteTokenizer
from mmkit.errors import RefusedError
from projects.apidoc_vae.dataset import APIDocs
from projects.apidoc_vae.tokenizer import apidocs_tokenizer


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_an_example_is_a_line_of_the_split(apidocs, split):
    lines = (apidocs / f"{split}.txt").read_text(encoding="utf-8").splitlines()
    assert [(one["example_index"], one["text"]) for one in APIDocs(split)] == list(enumerate(lines))


def test_texts_are_cut_to_a_number_of_tokens_or_go_on_in_the_next_example(apidocs):
    lines = (apidocs / "val.txt").read_text(encoding="utf-8").splitlines()
    cut = [one["text"] for one in APIDocs("val", seq_length=12, tokenizer=ByteTokenizer())]
    assert len(cut) == len(lines)
    assert all(0 < len(text) <= 10 and line.startswith(text) for text, line in zip(cut, lines, strict=True))

    pieces = [one["text"] for one in APIDocs("val", seq_length=12, tokenizer=ByteTokenizer(), long_lines="continue")]
    assert max(map(len, pieces)) <= 10
    assert "".join(pieces).replace(" ", "") == "".join(lines).replace(" ", "")


def test_an_example_is_what_the_specification_says(apidocs):
    one, said = APIDocs("val")[0], APIDocs.example_spec(split="val")
    assert {name: type(value) for name, value in one.items()} == {name: type(value) for name, value in said.items()}


def test_an_unknown_split_is_refused(apidocs):
    with pytest.raises(ValueError, match=r"unknown split 'valid'. Allowed: train, val, test"):
        APIDocs("valid")


def test_data_that_is_not_prepared_says_what_to_type(monkeypatch, tmp_path):
    monkeypatch.setenv("MMKIT_DATA", str(tmp_path))
    for needing in (APIDocs, apidocs_tokenizer):
        with pytest.raises(RefusedError, match=r"'apidocs' is not prepared. Type: mmkit data prepare apidocs$"):
            needing()


def test_the_vocabulary_is_trained_once_and_knows_the_texts(apidocs):
    pytest.importorskip("sentencepiece")
    tokenizer = apidocs_tokenizer(vocab_size=200)
    assert apidocs_tokenizer(vocab_size=200).model == tokenizer.model
    assert tokenizer.vocab_size == 200
    text = APIDocs("test")[0]["text"]
    assert tokenizer.decode(tokenizer(text)["text"]) == text
