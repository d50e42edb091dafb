from pathlib import Path

import huggingface_hub.constants
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from mmkit.modules.encoders import TimmEncoder, VisionTransformer
from mmkit.modules.layers import ImageNormalize


CNN = "test_resnet"  # timm's miniatures
VIT = "test_vit"


def images(size: int = 32) -> Tensor:
    return torch.randint(256, (2, 3, size, size), dtype=torch.uint8)


def trainable(encoder: nn.Module) -> set[str]:
    return {name for name, parameter in encoder.named_parameters() if parameter.requires_grad}


def test_our_vision_transformer_equals_that_of_timm() -> None:
    theirs = timm.create_model("vit_tiny_patch16_224", depth=2, img_size=32, num_classes=0).double().eval()
    ours = VisionTransformer(image_size=32, width=192, depth=2, num_heads=3).double().eval()
    weights = {name.replace("fc1", "layers.0").replace("fc2", "layers.3"): tensor for name, tensor in theirs.state_dict().items()}
    weights["cls_token"] = weights["cls_token"] + weights["pos_embed"][:, :1]
    weights["pos_embed"] = weights["pos_embed"][:, 1:]
    ours.load_state_dict(weights)
    image = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    assert torch.allclose(ours({"rgb": image})[0], theirs(image))


@pytest.mark.parametrize("name", [CNN, VIT, "test_convnext", "test_efficientnet"])
def test_any_backbone_gives_pooled_features_or_positions(name: str) -> None:
    pooled = TimmEncoder(name, image_size=32).eval()({"rgb": images()})[0]
    positions = TimmEncoder(name, image_size=32, pooling="none").eval()({"rgb": images()})[0]
    assert pooled.ndim == 2
    assert positions.ndim == 3


def test_channels_last_feature_maps_become_positions() -> None:
    encoder = TimmEncoder(
        "swin_tiny_patch4_window7_224", pooling="none", model_kwargs={"depths": (1, 1), "embed_dim": 12, "num_heads": (1, 1)}
    )
    assert encoder({"rgb": images(224)})[0].shape == (2, 28 * 28, 24)


def test_bytes_are_normalised_as_the_backbone_was_trained() -> None:
    encoder = TimmEncoder(VIT, image_size=32).eval()
    assert timm.get_pretrained_cfg(VIT).mean == (0.5, 0.5, 0.5)
    image = images()
    assert torch.allclose(encoder({"rgb": image})[0], encoder({"rgb": ImageNormalize("half")(image)})[0])


def test_a_convolutional_network_takes_any_image_size() -> None:
    assert TimmEncoder(CNN, image_size=[32, 48])({"rgb": torch.zeros(2, 3, 32, 48)})[0].ndim == 2


def test_a_projection_sets_the_size_of_the_embedding() -> None:
    assert TimmEncoder(CNN, projection_dim=7)({"rgb": images()})[0].shape == (2, 7)
    assert TimmEncoder(CNN, num_classes=5)({"rgb": images()})[0].shape == (2, 5)
    assert TimmEncoder(CNN, num_classes=5, projection_dim=7)({"rgb": images()})[0].shape == (2, 7)


@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
@pytest.mark.parametrize("num_classes", [0, 5, 10])
def test_a_local_checkpoint_is_loaded_and_its_classifier_kept_if_it_fits(tmp_path: Path, suffix: str, num_classes: int) -> None:
    source, path = timm.create_model(CNN, num_classes=10).eval(), tmp_path / f"weights.{suffix}"
    save_file(source.state_dict(), path) if suffix == "safetensors" else torch.save({"state_dict": source.state_dict()}, path)
    encoder = TimmEncoder(CNN, checkpoint_path=str(path), num_classes=num_classes).eval()
    image = encoder.normalize(images())
    assert torch.allclose(encoder.model.forward_features(image), source.forward_features(image))
    if num_classes == 10:
        assert torch.allclose(encoder({"rgb": image})[0], source(image))


def test_a_checkpoint_with_code_in_it_is_refused(tmp_path: Path) -> None:
    torch.save(nn.Linear(1, 1), tmp_path / "weights.pt")
    with pytest.raises(ValueError, match=r"cannot read weights from .*weights.pt': .*weights_only=True blocked"):
        TimmEncoder(CNN, checkpoint_path=str(tmp_path / "weights.pt"))


def test_a_checkpoint_of_another_model_names_what_does_not_fit(tmp_path: Path) -> None:
    save_file({"conv9.weight": torch.zeros(1)}, tmp_path / "weights.safetensors")
    with pytest.raises(ValueError, match=r"do not fit the model: \d+ are missing \['conv1.*1 have no place .*conv9.weight"):
        TimmEncoder(CNN, checkpoint_path=str(tmp_path / "weights.safetensors"))


def test_freezing_everything_leaves_the_new_heads() -> None:
    encoder = TimmEncoder(CNN, num_classes=5, projection_dim=7, freeze=True)
    assert trainable(encoder) == {"model.fc.weight", "model.fc.bias", "projection.weight", "projection.bias"}
    encoder.train()
    before = {name: buffer.clone() for name, buffer in encoder.named_buffers()}
    encoder({"rgb": images()})[0].sum().backward()
    assert all(torch.equal(buffer, before[name]) for name, buffer in encoder.named_buffers())
    assert encoder.projection.weight.grad is not None


def test_a_trained_batch_norm_does_change_its_statistics() -> None:
    encoder = TimmEncoder(CNN).train()
    encoder({"rgb": images()})
    assert encoder.model.bn1.num_batches_tracked == 1


@pytest.mark.parametrize(("freeze", "layers"), [(1, 1), (3, 3), (0.5, 3)])
def test_freezing_some_layers_of_a_vit_includes_patches_and_positions(freeze: int | float, layers: int) -> None:
    encoder = TimmEncoder(VIT, freeze=freeze, model_kwargs={"depth": 6}).train()
    expected = {"model.norm", *(f"model.blocks.{i}" for i in range(layers, 6))}
    assert {".".join(name.split(".")[: 3 if "blocks" in name else 2]) for name in trainable(encoder)} == expected
    assert [block.training for block in encoder.model.blocks] == [i >= layers for i in range(6)]
    assert not encoder.model.patch_embed.training


def test_freezing_some_layers_of_a_cnn_stops_their_statistics() -> None:
    encoder = TimmEncoder(CNN, freeze=1).train()
    encoder({"rgb": images()})
    tracked = {name: buffer.item() for name, buffer in encoder.named_buffers() if name.endswith("num_batches_tracked")}
    is_frozen = {name: name.startswith(("model.conv1.", "model.bn1.", "model.layer1.0.")) for name in tracked}
    assert {name: count == 0 for name, count in tracked.items()} == is_frozen


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("name", ["test_resnet.r160_in1k", "hf-hub:nobody/nothing"])
def test_weights_that_no_network_gives_are_one_line(name: str) -> None:
    with pytest.raises(ValueError, match=rf"cannot get '{name}' \(pretrained=True\): .* Allowed: pretrained=False"):
        TimmEncoder(name, pretrained=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model_name": "resnet81"}, r"timm has no model 'resnet81'. Did you mean resnet"),
        ({"checkpoint_path": "nowhere.pt"}, "checkpoint_path 'nowhere.pt' is not a file"),
        ({"checkpoint_path": "a.pt", "pretrained": True}, "not both"),
        ({"pooling": "max"}, r"Unknown pooling 'max' for TimmEncoder. Allowed: model, none"),
        ({"pooling": "none", "num_classes": 3}, "the classifier needs pooled features"),
        ({"model_kwargs": {"features_only": True}}, "features_only gives feature pyramids"),
        ({"freeze": 99}, r"freeze=99, but TimmEncoder has \d+ layers"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TimmEncoder(**{"model_name": CNN, **arguments})
