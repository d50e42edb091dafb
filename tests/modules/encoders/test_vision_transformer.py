import pytest
import torch
from torch import Tensor

from mmkit.datasets.masking import BlockwisePatchMaskGenerator, IJEPAMaskGenerator
from mmkit.modules.encoders import VisionTransformer
from mmkit.modules.layers import ImageNormalize


SIZE = {"image_size": 8, "patch_size": 4, "width": 8, "depth": 2, "num_heads": 2}
POOLINGS = ["cls", "avg", "map"]


def images(batch: int = 2, height: int = 8, width: int = 8) -> Tensor:
    return torch.randn(batch, 3, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def encode(encoder: VisionTransformer, image: Tensor, mask: Tensor | None = None) -> Tensor:
    return encoder.double().eval()({"rgb": image} if mask is None else {"rgb": image, "rgb_mask": mask})[0]


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize(("height", "width"), [(8, 8), (16, 4), (9, 14)], ids=["learned", "rectangular", "no_multiple"])
def test_images_of_any_size_are_embedded(pooling: str, height: int, width: int) -> None:
    out = encode(VisionTransformer(**SIZE, pooling=pooling), images(height=height, width=width))
    assert out.shape == (2, 8)
    assert out.isfinite().all()


def test_without_pooling_there_is_one_embedding_per_patch() -> None:
    encoder = VisionTransformer(**{**SIZE, "image_size": [8, 16]}, pooling="none")
    assert encode(encoder, images(height=8, width=16)).shape == (2, 2 * 4, 8)


def test_bytes_are_normalised_by_the_encoder() -> None:
    encoder = VisionTransformer(**SIZE, normalization="clip").eval()
    image = torch.randint(256, (2, 3, 8, 8), dtype=torch.uint8)
    assert torch.equal(encoder({"rgb": image})[0], encoder({"rgb": ImageNormalize("clip")(image)})[0])


def test_one_channel_modalities_work() -> None:
    encoder = VisionTransformer(**SIZE, in_channels=1, normalization="half", modality="depth")
    assert encoder({"depth": torch.zeros(2, 1, 8, 8, dtype=torch.uint8)})[0].shape == (2, 8)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_the_order_of_a_batch_is_the_order_of_its_embeddings(pooling: str) -> None:
    encoder, order = VisionTransformer(**SIZE, pooling=pooling), torch.tensor([2, 0, 1])
    assert torch.allclose(encode(encoder, images(3))[order], encode(encoder, images(3)[order]))


@pytest.mark.parametrize("pooling", POOLINGS)
def test_hidden_patches_have_no_influence(pooling: str) -> None:
    encoder = VisionTransformer(**SIZE, pooling=pooling)
    mask = torch.tensor([[True, False, False, True], [False, False, True, False]])
    changed = images()
    changed[0, :, :4, :4] += 5  # patch 0 of the first image
    changed[1, :, 4:, :4] -= 3  # patch 2 of the second image
    assert torch.allclose(encode(encoder, images(), mask), encode(encoder, changed, mask))
    assert not torch.allclose(encode(encoder, images()), encode(encoder, changed))


@pytest.mark.parametrize("pooling", POOLINGS)
def test_hiding_patches_equals_giving_the_indices_of_the_others(pooling: str) -> None:
    encoder = VisionTransformer(**SIZE, pooling=pooling)
    hidden = torch.tensor([[True, False, False, True], [False, True, True, False]])
    assert torch.allclose(encode(encoder, images(), hidden), encode(encoder, images(), torch.tensor([[1, 2], [0, 3]])))


def test_indices_give_the_visible_patches_and_booleans_zeros_elsewhere() -> None:
    encoder = VisionTransformer(**SIZE, pooling="none")
    context = encode(encoder, images(), torch.tensor([[1, 2], [0, 3]]))
    whole = encode(encoder, images(), torch.tensor([[[True, False], [False, True]], [[False, True], [True, False]]]))
    assert context.shape == (2, 2, 8)
    assert torch.allclose(whole[0, [1, 2]], context[0])
    assert torch.allclose(whole[1, [0, 3]], context[1])
    assert not whole[0, [0, 3]].any()


def test_masks_of_i_jepa_and_of_blocks_are_understood() -> None:
    encoder = VisionTransformer(image_size=32, patch_size=4, width=8, depth=1, num_heads=2, pooling="none")
    image, generator = images(height=32, width=32), torch.Generator().manual_seed(0)
    masks = IJEPAMaskGenerator(input_size=32, patch_size=4)(2, generator)
    context = encode(encoder, image, masks.context_indices)
    assert torch.allclose(encode(encoder, image, ~masks.context)[masks.context], context.flatten(0, 1))
    hidden = BlockwisePatchMaskGenerator(input_size=8, num_masking_patches=30)(2, generator)
    assert torch.equal(encode(encoder, image, hidden).any(dim=-1), ~hidden)


@pytest.mark.parametrize(
    "mask",
    [torch.zeros(2, 5, dtype=torch.bool), torch.zeros(1, 4, dtype=torch.bool), torch.zeros(2, 4, dtype=torch.long)],
    ids=["other_grid", "other_batch", "integers_meant_as_booleans"],
)
def test_a_mask_that_does_not_fit_is_an_error(mask: Tensor) -> None:
    with pytest.raises(ValueError, match=r"patch mask of shape .* does not fit 2 images of 4 patches. Allowed: booleans"):
        encode(VisionTransformer(**SIZE), images(), mask)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_patch_dropout_leaves_patches_out_only_while_training(pooling: str) -> None:
    torch.manual_seed(0)
    encoder, plain = VisionTransformer(**SIZE, pooling=pooling, patch_dropout=0.5), VisionTransformer(**SIZE, pooling=pooling)
    plain.load_state_dict(encoder.state_dict())
    assert torch.equal(encode(encoder, images()), encode(plain, images()))
    mask = torch.tensor([[True, False, False, False]] * 2)
    out = encoder.train()({"rgb": images(), "rgb_mask": mask})[0]
    assert not torch.allclose(out, encoder({"rgb": images(), "rgb_mask": mask})[0])


def test_patch_dropout_shortens_the_sequence() -> None:
    encoder = VisionTransformer(**SIZE, pooling="none", patch_dropout=0.5)
    assert encoder({"rgb": images().float()})[0].shape == (2, 2, 8)


@pytest.mark.parametrize("pooling", [*POOLINGS, "none"])
def test_every_parameter_gets_a_gradient(pooling: str) -> None:
    encoder = VisionTransformer(**SIZE, pooling=pooling, layer_scale=0.1, drop_path=0.1)
    encoder.eval()({"rgb": images().float()})[0].square().sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())


def test_drop_path_grows_with_depth() -> None:
    encoder = VisionTransformer(**{**SIZE, "depth": 3}, drop_path=0.2)
    assert [block.branch1[2].rate for block in encoder.blocks] == pytest.approx([0, 0.1, 0.2])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pooling": "mean"}, "Unknown pooling 'mean'. Allowed: cls, avg, map, none"),
        ({"normalization": "none"}, "Unknown image normalisation 'none'. Allowed: imagenet, clip, half"),
        ({"num_heads": 3}, "num_heads=3 must divide the embedding size 8"),
        ({"image_size": [8, 8, 3]}, r"A size is a positive number or \[height, width\]"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VisionTransformer(**{**SIZE, **arguments})
