import pickle

import numpy as np
import pytest
import torch
from torch import nn

from mmkit.datasets.core import Example
from mmkit.datasets.encoded import EncodedDataset
from mmkit.datasets.tokenizers import CharacterTokenizer


class Pairs(torch.utils.data.Dataset):
    """Six examples over three pictures and two texts; the last has no text."""

    classes = ("a", "b")

    def __len__(self):
        return 6

    def __getitem__(self, index):
        example = Example({"example_index": index, "rgb": torch.full((3, 2, 2), index % 3, dtype=torch.uint8)})
        if index < 5:
            example["text"] = ["short", "a longer one"][index % 2]
        return example


class Counting(nn.Module):
    """Counts what it encodes; dropout would show if it were not in evaluation mode."""

    def __init__(self, modality, dim=4):
        super().__init__()
        torch.manual_seed(0)
        self.modality = modality
        self.linear = nn.Linear(1, dim)
        self.dropout = nn.Dropout(0.5)
        self.seen = 0

    def forward(self, inputs):
        x = inputs[self.modality].float()
        self.seen += len(x)
        mask = inputs.get(f"{self.modality}_attention_mask", torch.ones_like(x))
        mean = (x * mask).flatten(1).sum(1, keepdim=True) / mask.flatten(1).sum(1, keepdim=True)
        return (self.dropout(self.linear(mean)),)


def encode(tmp_path, **overrides):
    encoders = {"rgb": Counting("rgb"), "text": Counting("text")}
    arguments = {
        "encoders": encoders,
        "batch_processors": {"text": CharacterTokenizer()},
        "batch_size": 2,
        "cache_dir": str(tmp_path),
    }
    arguments |= overrides
    return EncodedDataset(Pairs(), **arguments), {name: encoder.seen for name, encoder in arguments["encoders"].items()}


def test_features_are_what_the_encoder_gives_for_each_example_alone(tmp_path):
    encoded, _ = encode(tmp_path)
    for index, raw in enumerate(Pairs()[i] for i in range(6)):
        expected = Counting("rgb").eval()({"rgb": raw.rgb[None]})[0][0]
        torch.testing.assert_close(encoded[index].rgb, expected)
        if "text" in raw:
            expected = Counting("text").eval()(CharacterTokenizer()([raw.text]))[0][0]
            torch.testing.assert_close(encoded[index].text, expected)
    assert "text" not in encoded[5]
    assert encoded[4].example_index == 4


def test_each_distinct_value_is_encoded_once_and_never_again(tmp_path):
    assert encode(tmp_path)[1] == {"rgb": 3, "text": 2}
    assert encode(tmp_path)[1] == {"rgb": 0, "text": 0}


def test_other_weights_or_processors_make_new_features(tmp_path):
    encode(tmp_path)
    changed = Counting("rgb")
    changed.linear.weight.data += 1
    assert encode(tmp_path, encoders={"rgb": changed})[1] == {"rgb": 3}

    class Upper(CharacterTokenizer):
        def __call__(self, text):
            return super().__call__([each.upper() for each in text])

    assert encode(tmp_path, batch_processors={"text": Upper()})[1] == {"rgb": 0, "text": 2}


@pytest.mark.parametrize("damage", ["flip", "truncate", "manifest"])
def test_damaged_features_are_made_again(tmp_path, damage):
    before, _ = encode(tmp_path)
    expected = before[0].rgb
    for path in tmp_path.glob("*/features.npy"):
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        if damage == "manifest":
            path.with_name("manifest.json").write_text("{")
        else:
            path.write_bytes(content if damage == "flip" else content[:-5])
    after, seen = encode(tmp_path)
    assert seen == {"rgb": 3, "text": 2}
    assert torch.equal(after[0].rgb, expected)


def test_a_failed_encoding_leaves_nothing(tmp_path):
    class Failing(Counting):
        def forward(self, inputs):
            raise RuntimeError("no power")

    with pytest.raises(RuntimeError, match="no power"):
        encode(tmp_path, encoders={"rgb": Failing("rgb")})
    assert [path for path in tmp_path.iterdir() if path.suffix != ".lock"] == []


def test_encoders_keep_their_mode_and_workers_can_read(tmp_path):
    encoder = Counting("rgb").train()
    encoded, _ = encode(tmp_path, encoders={"rgb": encoder})
    assert encoder.training
    copied = pickle.loads(pickle.dumps(encoded))
    assert torch.equal(copied[3].rgb, encoded[3].rgb)
    assert isinstance(copied._features["rgb"], np.memmap)  # not a copy for each worker


def test_what_else_the_data_set_knows_is_there(tmp_path):
    encoded, _ = encode(tmp_path)
    assert (len(encoded), encoded.classes) == (6, ("a", "b"))
    with pytest.raises(AttributeError, match="nothing_like_it"):
        _ = encoded.nothing_like_it


def test_mistakes_are_named(tmp_path):
    with pytest.raises(ValueError, match="There is an encoder for 'audio', but no example of Pairs has it"):
        encode(tmp_path, encoders={"audio": Counting("audio")})

    class Sequence(Counting):
        def forward(self, inputs):
            return (torch.zeros(len(inputs["rgb"]), 5, 4),)

    with pytest.raises(ValueError, match=r"The encoder of 'rgb' returned \(2, 5, 4\); set its pooling"):
        encode(tmp_path, encoders={"rgb": Sequence("rgb")})


def test_features_are_read_from_a_memory_map(tmp_path):
    encoded, _ = encode(tmp_path)
    assert isinstance(encoded._features["rgb"], np.memmap)


class Scaled(nn.Module):
    """Averages pictures; what changes its output is neither a parameter nor printed."""

    def __init__(self, scale=1.0, pooling="mean"):
        super().__init__()
        self.register_buffer("scale", torch.tensor(scale), persistent=False)
        self.pooling = pooling

    def forward(self, inputs):
        x_BP = inputs["rgb"].float().flatten(1) * self.scale
        return (getattr(x_BP, self.pooling)(1, keepdim=True),)


@pytest.mark.parametrize("change", [{"scale": 2.0}, {"pooling": "sum"}], ids=["buffer_outside_the_state_dict", "setting"])
def test_everything_that_changes_the_output_makes_new_features(tmp_path, change):
    before, after = (EncodedDataset(Pairs(), {"rgb": Scaled(**given)}, cache_dir=str(tmp_path)) for given in ({}, change))
    assert before[1]["rgb"].item() == 1
    assert after[1]["rgb"].item() == {"scale": 2, "pooling": 12}[next(iter(change))]
