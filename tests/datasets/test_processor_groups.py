"""What holds for all groups of processors: tokenizers, transforms and masking."""

import subprocess
import sys

import pytest

from mmkit.conf import external_store
from mmkit.conf.groups import fill_group


OPTIONAL = ("transformers", "tokenizers", "torchvision", "timm", "open_clip", "regex", "ftfy", "sentencepiece")
ENTRIES = {
    "tokenizers": {
        "HFTokenizer",
        "CLIPTokenizer",
        "CharacterTokenizer",
        "ByteTokenizer",
        "SentencePieceTokenizer",
        "text_tokenizer",
    },
    "transforms": {
        "Compose",
        "RandomWordDrop",
        "RandomWordSwap",
        "RepeatChannels",
        "TrimText",
        "image_augmentation",
        "image_eval_transform",
        "image_train_transform",
        "timm_transform",
    },
    "masking": {
        "RandomMaskGenerator",
        "BlockwisePatchMaskGenerator",
        "IJEPAMaskGenerator",
        "BARTDenoising",
        "T5SpanCorruption",
        "UL2Denoising",
    },
}


@pytest.mark.parametrize("group", ENTRIES)
def test_a_group_offers_its_components(group: str) -> None:
    fill_group(f"datasets/{group}")
    names = {entry["name"] for entry in external_store if entry["group"] == f"datasets/{group}"}
    assert names >= ENTRIES[group]


@pytest.mark.parametrize("group", ENTRIES)
def test_importing_a_group_imports_no_optional_package(group: str) -> None:
    code = f"import sys, mmkit.datasets.{group}; print([m for m in {OPTIONAL} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
