import pytest
import torch
from torch import nn

from mmkit.datasets.core import Modalities
from mmkit.models.multimodal_encoder import ModuleKeySpec, MultimodalEncoder


class Reader(nn.Module):
    """Returns what it finds under its modality's name, times a factor."""

    def __init__(self, modality, factor=1.0):
        super().__init__()
        self.modality = modality
        self.factor = factor

    def forward(self, inputs):
        return (inputs[self.modality] * self.factor,)


def test_encoder_head_postprocessor_are_applied_in_this_order():
    model = MultimodalEncoder(
        {"rgb": Reader("rgb")},
        heads={"rgb": {"a": nn.Linear(2, 3), "b": nn.ReLU()}},
        postprocessors={"rgb": nn.Softmax(dim=-1)},
    )
    x_BD = torch.randn(4, 2)
    linear = model.heads["rgb"][0]
    expected = torch.softmax(torch.relu(x_BD @ linear.weight.T + linear.bias), dim=-1)
    torch.testing.assert_close(model({"rgb": x_BD})["rgb_embedding"], expected)


def test_only_modalities_that_are_there_are_embedded():
    model = MultimodalEncoder({name: Reader(name) for name in ("rgb", "text", "audio")})
    embeddings = model({"text": torch.ones(2, 3), "audio": torch.ones(1, 3), "other": None})
    assert {name: tuple(value.shape) for name, value in embeddings.items()} == {
        "text_embedding": (2, 3),
        "audio_embedding": (1, 3),
    }


def test_a_shared_encoder_sees_each_modality_under_the_name_it_reads():
    class Masked(Reader):
        def forward(self, inputs):
            return (inputs["text"] * inputs["text_attention_mask"],)

    Modalities.register_modality("subtitle")
    model = MultimodalEncoder({"text": Masked("text")}, modality_module_mapping={"subtitle": {"encoder_key": "text"}})
    batch = {
        "text": torch.ones(2, 3),
        "text_attention_mask": torch.ones(2, 3),
        "subtitle": torch.full((2, 3), 5.0),
        "subtitle_attention_mask": torch.tensor([[1.0, 0, 0], [1, 1, 0]]),
    }
    out = model(batch)
    assert out["text_embedding"].sum() == 6
    assert out["subtitle_embedding"].tolist() == [[5, 0, 0], [5, 5, 0]]


def test_two_modalities_can_share_a_head():
    head = nn.Linear(2, 2)
    model = MultimodalEncoder(
        {"rgb": Reader("rgb"), "text": Reader("text")},
        heads={"shared": head},
        modality_module_mapping={"rgb": ModuleKeySpec(head_key="shared"), "text": ModuleKeySpec(head_key="shared")},
    )
    x_BD = torch.randn(3, 2)
    out = model({"rgb": x_BD, "text": x_BD})
    torch.testing.assert_close(out["rgb_embedding"], head(x_BD))
    torch.testing.assert_close(out["text_embedding"], head(x_BD))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param({"encoders": {}}, "There are no encoders", id="no-encoders"),
        pytest.param({"encoders": {"rbg": Reader("rgb")}}, r"encoders.rbg belongs to no modality", id="unknown-encoder-key"),
        pytest.param(
            {"encoders": {"rgb": Reader("rgb")}, "heads": {"text": nn.Identity()}},
            r"heads.text belongs to no modality: rgb have encoders",
            id="head-without-encoder",
        ),
        pytest.param(
            {"encoders": {"rgb": Reader("rgb")}, "modality_module_mapping": {"depth": {"encoder_key": "image"}}},
            r"There is no encoders.image. Known: rgb",
            id="mapping-to-no-encoder",
        ),
        pytest.param(
            {"encoders": {"rgb": Reader("rgb")}, "modality_module_mapping": {"rgb": {"head_key": "none"}}},
            r"There is no heads.none. Known: none",
            id="mapping-to-no-head",
        ),
    ],
)
def test_modules_that_do_not_fit_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        MultimodalEncoder(**arguments)


def test_missing_pooling_is_named():
    model = MultimodalEncoder({"rgb": Reader("rgb")})
    with pytest.raises(
        ValueError, match=r"embedding of 'rgb' has the shape \(2, 5, 3\); it must be \(batch, dim\). Set the pooling"
    ):
        model({"rgb": torch.ones(2, 5, 3)})


def test_encoding_an_unknown_modality_lists_the_known():
    with pytest.raises(ValueError, match=r"No encoder for the modality 'audio'\. The model embeds: rgb"):
        MultimodalEncoder({"rgb": Reader("rgb")}).encode({}, "audio")
