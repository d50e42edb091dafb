"""Text files and denoisers behind a real loader: corruption differs by epoch, is repeated exactly, and knows no workers."""

import gc

import pytest
from omegaconf import OmegaConf

from mmkit.conf.base import LoadersConf
from mmkit.dataloader.loaders import ConfiguredData


TOKENIZER = {"_target_": "mmkit.datasets.tokenizers.ByteTokenizer"}
LINES = [f"line {number} says a few more words than the one before" for number in range(30)]


def epochs_of(denoiser: str, path: str, **loader) -> list[list[dict[str, list[list[int]]]]]:
    """The batches of two epochs in order."""
    noise = {"_target_": f"mmkit.datasets.masking.{denoiser}", "tokenizer": TOKENIZER}
    chain = {"_target_": "mmkit.datasets.transforms.Compose", "transforms": [TOKENIZER, noise]}
    loaders = OmegaConf.structured(LoadersConf)
    settings = {"batch_size": 8, "shuffle": False, "pin_memory": False, "collate_fn": {"batch_processors": {"text": chain}}}
    loaders.train = OmegaConf.merge(loaders.train, settings, loader)
    text = {"_target_": "mmkit.datasets.text.dataset.TextMMap", "data_prefix": path}
    data = ConfiguredData(OmegaConf.create({"train": {"lines": text}, "val": None, "test": None}), loaders, seed=3, divide=False)
    gc.collect()
    result = []
    for epoch in range(2):
        data.load_state_dict(data.state_dict() | {"epoch": epoch, "batch": 0})
        result.append([{key: batch[key].tolist() for key in ("text", "text_target")} for batch in data.train_dataloader()])
    return result


@pytest.mark.parametrize("denoiser", ["BARTDenoising", "T5SpanCorruption", "UL2Denoising"])
def test_texts_are_corrupted_alike_with_and_without_workers_and_anew_in_every_epoch(tmp_path, denoiser):
    path = tmp_path / "lines.txt"
    path.write_text("\n".join(LINES))
    first, second = straight = epochs_of(denoiser, str(path))
    assert epochs_of(denoiser, str(path), num_workers=2) == straight
    assert [len(batch["text"]) for batch in first] == [8, 8, 8, 6]
    assert all(a["text"] != b["text"] for a, b in zip(first, second, strict=True))
    if denoiser == "BARTDenoising":  # whose labels are the texts
        assert [batch["text_target"] for batch in first] == [batch["text_target"] for batch in second]
