"""What all denoisers have in common."""

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from hydra.utils import instantiate
from hypothesis import given
from hypothesis import strategies as st

from mmkit import rng
from mmkit.conf import external_store
from mmkit.conf.groups import fill_group
from mmkit.dataloader.activity import ActivityBoard
from mmkit.dataloader.batch_randomness import BatchRandomness, SeededCollator
from mmkit.datasets.core import DefaultDataCollator, Example
from mmkit.datasets.masking import BARTDenoising, T5SpanCorruption, UL2Denoising
from mmkit.datasets.masking.denoiser import Denoiser
from mmkit.datasets.tokenizers import ByteTokenizer, CharacterTokenizer, TextTokenizer
from mmkit.datasets.transforms import Compose


DENOISERS: dict[str, Callable[[TextTokenizer], Denoiser]] = {
    "BART": BARTDenoising,
    "BART with everything": lambda tokenizer: BARTDenoising(
        tokenizer, whole_words=True, delete_ratio=0.1, permute_sentence_ratio=1.0
    ),
    "T5": T5SpanCorruption,
    "UL2": UL2Denoising,
}
TEXTS = ["One cat sat on a mat. Two dogs ran away. Was that all?", "A very short one.", "x", ""]
each = pytest.mark.parametrize("make", DENOISERS.values(), ids=list(DENOISERS))


@each
def test_texts_of_no_one_and_two_tokens_are_no_error(make: Callable[[TextTokenizer], Denoiser]) -> None:
    tokenizer = ByteTokenizer()
    denoise = make(tokenizer)
    for texts in (["", "a", "ab"], [""], []):
        source = tokenizer(texts)
        result = denoise(source, torch.Generator().manual_seed(0))
        assert len(result["text"]) == len(result["text_target"]) == len(texts)
        assert result["text"].shape == result["text_attention_mask"].shape
    assert denoise(tokenizer(""))["text_target"].tolist()[-1] == tokenizer.eos_id


@each
def test_a_text_never_gets_longer_but_by_a_mode_and_its_source_is_not_changed(
    make: Callable[[TextTokenizer], Denoiser],
) -> None:
    tokenizer = ByteTokenizer()
    source = tokenizer([*TEXTS, "ab", "abc", "abcd"] * 20)
    before = {key: value.clone() for key, value in source.items()}
    denoise = make(tokenizer)
    room = int(isinstance(denoise, UL2Denoising))
    for seed in range(20):
        result = denoise(source, torch.Generator().manual_seed(seed))
        assert (result["text_attention_mask"].sum(-1) <= source["text_attention_mask"].sum(-1) + room).all()
    for key, value in before.items():
        assert torch.equal(source[key], value)


@each
def test_the_generators_that_mmkit_seeds_for_a_batch_decide(make: Callable[[TextTokenizer], Denoiser]) -> None:
    """Another epoch has another key, a repeated or resumed one the same; what was drawn before does not matter."""
    tokenizer = ByteTokenizer()
    randomness = BatchRandomness()
    process = Compose({"tokenize": tokenizer, "denoise": make(tokenizer)})
    collate = SeededCollator(DefaultDataCollator({"text": process}), randomness, ActivityBoard(0))
    examples = [Example(text=text, dataset_index=0, example_index=index) for index, text in enumerate(TEXTS)]

    def batch(epoch: int) -> dict[str, torch.Tensor]:
        randomness.begin(rng.derived_key("run", epoch))
        return collate(examples)

    first = batch(0)
    torch.rand(7)
    assert torch.equal(batch(0)["text"], first["text"])
    assert any(batch(epoch)["text"].tolist() != first["text"].tolist() for epoch in (1, 2))
    ids = first["example_ids"]
    assert torch.equal(ids["text"], ids["text_target"])


@each
def test_it_travels_to_worker_processes(make: Callable[[TextTokenizer], Denoiser]) -> None:
    tokenizer = ByteTokenizer()
    denoise, source = make(tokenizer), tokenizer(TEXTS)
    expected = denoise(source, torch.Generator().manual_seed(1))
    for other in (pickle.loads(pickle.dumps(denoise)), copy.deepcopy(denoise)):
        result = other(source, torch.Generator().manual_seed(1))
        assert {key: value.tolist() for key, value in result.items()} == {key: value.tolist() for key, value in expected.items()}


@pytest.mark.parametrize("name", ["BARTDenoising", "T5SpanCorruption", "UL2Denoising"])
def test_a_configuration_with_a_tokenizer_is_enough(name: str) -> None:
    fill_group("datasets/masking")
    target = next(e["node"] for e in external_store if (e["group"], e["name"]) == ("datasets/masking", name))._target_
    config = {"_target_": target, "tokenizer": {"_target_": "mmkit.datasets.tokenizers.text_tokenizer", "library": "bytes"}}
    denoise = instantiate(config, _convert_="object")
    assert denoise(ByteTokenizer()(TEXTS))["text_target"].shape[0] == len(TEXTS)


@given(st.lists(st.text(alphabet="ab .é", max_size=12), min_size=1, max_size=4), st.integers(0, 99))
def test_a_word_with_an_unknown_character_is_hidden_whole(texts: list[str], seed: int) -> None:
    """The unknown token stands for text: it is hidden like any other, and other special tokens never are."""
    tokenizer = CharacterTokenizer(alphabet="ab .")
    denoise = BARTDenoising(tokenizer, mask_ratio=1.0, whole_words=True)
    result = denoise(tokenizer(texts), torch.Generator().manual_seed(seed))
    ordinary = {tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id, tokenizer.mask_id}
    assert set(result["text"].flatten().tolist()) <= ordinary
    assert (result["text"][:, 0] == tokenizer.bos_id).all()


def test_the_target_is_closed_where_the_source_is_not() -> None:
    denoise = BARTDenoising(mask_token_id=3, pad_id=0, bos_id=1, eos_id=2)
    source = {"text": torch.tensor([[10, 11, 12, 0], [1, 10, 2, 0]])}
    assert denoise(source)["text_target"].tolist() == [[10, 11, 12, 2], [10, 2, -100, -100]]


def test_ids_that_are_given_count_instead_of_the_tokenizers() -> None:
    denoise = BARTDenoising(ByteTokenizer(), mask_ratio=1.0, mask_token_id=300, eos_id=301)
    result = denoise({"text": torch.tensor([1, 50, 60, 301])})
    assert set(result["text"].tolist()) == {1, 300, 301}


def test_a_tokenizer_without_a_mask_asks_for_one() -> None:
    tokenizer = ByteTokenizer()
    tokenizer.mask_id = None  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(ValueError, match=r"needs `mask_token_id`, and ByteTokenizer has none\. Give `mask_token_id`, or a"):
        BARTDenoising(tokenizer)
    assert BARTDenoising(tokenizer, mask_token_id=260)(tokenizer("abcdefg"))["text"].max() == 260
