from pathlib import Path

import pytest
import torch
import transformers
from torch import nn

from mmkit.modules.encoders import HFCLIPTextEncoder, HFCLIPVisionEncoder
from mmkit.modules.layers import ImageNormalize


SIZE = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "projection_dim": 6}
TEXT = {**SIZE, "vocab_size": 20, "max_position_embeddings": 10, "eos_token_id": 19, "bos_token_id": 18, "pad_token_id": 19}
VISION = {**SIZE, "image_size": 16, "patch_size": 8}
IDS = torch.tensor([[18, 5, 6, 19], [18, 7, 19, 19]])
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[transformers.CLIPModel, str]:
    """A whole CLIP model and the directory in which it is saved."""
    directory = str(tmp_path_factory.mktemp("clip"))
    config = transformers.CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=6)
    model = transformers.CLIPModel(config).eval()
    model.save_pretrained(directory)
    return model, directory


def trainable(encoder: nn.Module) -> set[str]:
    return {name for name, parameter in encoder.named_parameters() if parameter.requires_grad}


def test_towers_with_projection_give_the_embeddings_of_the_whole_model(clip: tuple[transformers.CLIPModel, str]) -> None:
    model, directory = clip
    image = torch.randn(2, 3, 16, 16)
    whole = model(input_ids=IDS, attention_mask=MASK, pixel_values=image)
    text = HFCLIPTextEncoder(directory, projection=True).eval()({"text": IDS, "text_attention_mask": MASK})[0]
    vision = HFCLIPVisionEncoder(directory, projection=True).eval()({"rgb": image})[0]
    assert torch.allclose(nn.functional.normalize(text), whole.text_embeds, atol=1e-5)
    assert torch.allclose(nn.functional.normalize(vision), whole.image_embeds, atol=1e-5)


def test_towers_without_projection_give_the_pooled_output(clip: tuple[transformers.CLIPModel, str]) -> None:
    model, directory = clip
    image = torch.randn(2, 3, 16, 16)
    text = HFCLIPTextEncoder(directory).eval()({"text": IDS, "text_attention_mask": MASK})[0]
    vision = HFCLIPVisionEncoder(directory).eval()({"rgb": image})[0]
    assert torch.allclose(model.text_projection(text), model.get_text_features(IDS, MASK).pooler_output, atol=1e-5)
    assert torch.allclose(model.visual_projection(vision), model.get_image_features(image).pooler_output, atol=1e-5)


def test_pooling_none_gives_every_token() -> None:
    text = HFCLIPTextEncoder(config=TEXT, pooling="none")
    vision = HFCLIPVisionEncoder(config=VISION, pooling="none")
    assert text({"text": IDS})[0].shape == (2, 4, 8)
    assert vision({"rgb": torch.zeros(2, 3, 16, 16)})[0].shape == (2, 1 + 4, 8)


@pytest.mark.parametrize("pooling", ["pooler", "none"])
def test_every_trainable_parameter_gets_a_gradient(pooling: str) -> None:
    encoder = HFCLIPVisionEncoder(config=VISION, pooling=pooling)
    encoder({"rgb": torch.randn(2, 3, 16, 16)})[0].square().sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters() if parameter.requires_grad)


def test_padding_does_not_change_an_embedding() -> None:
    encoder = HFCLIPTextEncoder(config=TEXT, projection=True).eval()
    padded = encoder({"text": IDS, "text_attention_mask": MASK})[0]
    assert torch.allclose(padded[1:], encoder({"text": IDS[1:, :3]})[0], atol=1e-6)


def test_bytes_are_normalised_for_clip_and_any_image_size_works() -> None:
    encoder = HFCLIPVisionEncoder(config=VISION).eval()
    for size in ((16, 16), (24, 32)):
        image = torch.randint(256, (2, 3, *size), dtype=torch.uint8)
        assert torch.equal(encoder({"rgb": image})[0], encoder({"rgb": ImageNormalize("clip")(image)})[0])


def test_freezing_counts_layers_and_includes_embeddings() -> None:
    names = trainable(HFCLIPVisionEncoder(config=VISION, projection=True, freeze=1))
    assert not {name for name in names if "embedding" in name or "pre_layrnorm" in name or ".layers.0." in name}
    assert {name for name in names if ".layers.1." in name}
    assert {name for name in names if "visual_projection" in name}
    for freeze in (True, 2, 1.0):
        assert not trainable(HFCLIPTextEncoder(config=TEXT, projection=True, freeze=freeze))


def test_lora_leaves_only_adapters_trainable() -> None:
    encoder = HFCLIPTextEncoder(config=TEXT, projection=True, peft_config={"r": 2, "target_modules": ["q_proj"]})
    assert {".lora_" in name for name in trainable(encoder)} == {True}
    assert encoder({"text": IDS})[0].shape == (2, 6)


def test_a_text_beyond_the_model_names_both_lengths() -> None:
    with pytest.raises(ValueError, match="text of 11 tokens is longer than the 10 that HFCLIPTextEncoder takes"):
        HFCLIPTextEncoder(config=TEXT)({"text": torch.zeros(1, 11, dtype=torch.long)})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "HFCLIPVisionEncoder needs `model_name_or_path`"),
        ({"config": VISION, "pooling": "mean"}, r"Unknown pooling 'mean' for HFCLIPVisionEncoder. Allowed: pooler, none"),
        ({"config": VISION, "pooling": "none", "projection": True}, "Use pooling='pooler' with projection=True"),
        ({"config": VISION, "freeze": 3}, "freeze=3, but HFCLIPVisionEncoder has 2 layers"),
        ({"config": VISION, "normalization": "vit"}, "Unknown image normalisation 'vit'"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HFCLIPVisionEncoder(**arguments)


def test_a_directory_of_another_model_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="HFCLIPTextEncoder cannot load a model from the directory"):
        HFCLIPTextEncoder(str(tmp_path))
