import pytest
import torch
from hydra_zen import get_target, instantiate

from mmkit.conf import external_store
from mmkit.modules import encoders
from mmkit.modules.encoders import TextTransformer, VisionTransformer


@pytest.mark.parametrize("name", encoders.__all__)
def test_every_public_encoder_is_a_config(name: str) -> None:
    assert get_target(external_store["modules/encoders", name]) is getattr(encoders, name)


# Parameters without a classifier, of the models at 224 pixels. ViT-B/16 without head has 85,798,656 with a position for its class
# token; here that position is part of the token.
@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("vit_tiny", 5.52),
        ("vit_small", 21.67),
        ("vit_base", 85.80),
        ("vit_large", 303.3),
        ("vit_huge", 630.76),
        ("vit_giant", 1011.2),
    ],
)
def test_vision_presets_have_the_sizes_of_their_papers(name: str, millions: float) -> None:
    with torch.device("meta"):
        encoder = instantiate(external_store["modules/encoders", name])
    assert isinstance(encoder, VisionTransformer)
    assert sum(parameter.numel() for parameter in encoder.parameters()) / 1e6 == pytest.approx(millions, rel=2e-3)


@pytest.mark.parametrize(("name", "width", "depth"), [("text_tiny", 256, 4), ("text_small", 384, 6), ("text_base", 512, 12)])
def test_text_presets_need_only_a_vocabulary(name: str, width: int, depth: int) -> None:
    with torch.device("meta"):
        encoder = instantiate(external_store["modules/encoders", name], vocab_size=100)
    assert isinstance(encoder, TextTransformer)
    assert (encoder.token_embedding.embedding_dim, len(encoder.blocks)) == (width, depth)


@pytest.mark.parametrize("suffix", ["", "WithProjection"])
def test_clip_towers_are_registered_with_and_without_projection(suffix: str) -> None:
    for name in ("HFCLIPTextEncoder", "HFCLIPVisionEncoder"):
        assert external_store["modules/encoders", name + suffix].projection is bool(suffix)


def test_lists_arrive_as_plain_lists() -> None:
    encoder = instantiate(external_store["modules/encoders", "ConvEncoder"], widths=[4, 8])
    assert encoder({"rgb": torch.zeros(1, 3, 8, 8, dtype=torch.uint8)})[0].shape == (1, 8)
