"""Image backbones of timm."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from mmkit.conf.store import external_store
from mmkit.datasets.core import Modalities
from mmkit.extras import require
from mmkit.modules.encoders.freezing import FreezableEncoder, num_frozen_layers
from mmkit.modules.encoders.inputs import modality_input
from mmkit.modules.layers.image_normalize import ImageNormalize


# Shapes: B batch, C channels, H × W pixels, N tokens or positions of a feature map, D embedding dim.


@external_store(group="modules/encoders")
class TimmEncoder(FreezableEncoder):
    """Encode images with any backbone of timm, normalised as the backbone was trained.

    Args:
        model_name: Name of a timm architecture, e.g. ``"resnet18"``, with a pretrained tag such as ``".a1_in1k"`` or not, or
            ``"hf-hub:owner/name"``.
        pretrained: Whether timm's weights are loaded, from its cache or the network.
        checkpoint_path: File of weights (safetensors or ``torch.save``) to load instead; a classifier in it that does not fit
            is left out.
        num_classes: ``0`` gives the pooled features; ``n`` adds timm's classifier with n outputs.
        projection_dim: Size of a linear map behind the backbone; None adds none.
        pooling: ``"model"`` pools as the backbone does; ``"none"`` gives its last feature map or tokens, (B, N, D).
        freeze: What is not trained: a number of layers (as timm groups them, counted from the input) or, as a float, a fraction
            of them, both with the stem; ``1`` is one layer, ``1.0`` and true are the whole backbone. The classifier and the
            projection are always trained; frozen layers stay in evaluation mode.
        image_size: Size in pixels, or [height, width], for which a backbone with fixed positions is built.
        model_kwargs: Further arguments of the architecture, e.g. ``{drop_path_rate: 0.1}``.
        modality: The modality that is read.

    Raises:
        ValueError: Unknown model or pooling, weights that cannot be loaded, more layers to freeze than there are, or a
            combination of arguments that means nothing.
    """

    artifact_arguments = ("checkpoint_path",)
    initial_weights_arguments: ClassVar = {"pretrained": False, "checkpoint_path": None}

    def __init__(
        self,
        model_name: str,
        pretrained: bool = False,
        checkpoint_path: str | None = None,
        num_classes: int = 0,
        projection_dim: int | None = None,
        pooling: str = "model",
        freeze: bool | int | float = False,
        image_size: int | list[int] | None = None,
        model_kwargs: dict[str, Any] | None = None,
        modality: str = "rgb",
    ) -> None:
        super().__init__()
        timm = require("timm", extra="vision", needed_by="TimmEncoder")
        kwargs = {**(model_kwargs or {}), "num_classes": num_classes}
        _check_arguments(pooling, num_classes, pretrained, checkpoint_path, kwargs)
        self.modality, self.pooling = Modalities.get_modality(modality).name, pooling
        self.model = _create_model(timm, model_name, pretrained, image_size, kwargs)
        if checkpoint_path is not None:
            _load_checkpoint(timm, self.model, checkpoint_path)
        data = timm.data.resolve_model_data_config(self.model)
        self.input_size: tuple[int, ...] = tuple(data["input_size"])
        self.normalize = ImageNormalize(mean=list(data["mean"]), std=list(data["std"]))
        dim = num_classes or (self.model.num_features if pooling == "none" else self.model.head_hidden_size)
        self.projection = nn.Identity() if projection_dim is None else nn.Linear(dim, projection_dim)
        self._freeze_layers(timm, freeze)

    def input_spec(self) -> dict[str, Tensor]:
        """What an example holds for this encoder, without values; for ``mmkit plan``, where nothing else says it."""
        return {self.modality: torch.empty(self.input_size, dtype=torch.uint8, device="meta")}

    def forward(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor]:
        """Encode a batch of images.

        Args:
            inputs: Images (B, C, H, W) under the modality's name: integers from 0 to 255, or floating-point and normalised.

        Returns:
            Embeddings (B, D), or (B, N, D) without pooling.

        Raises:
            ValueError: The modality is absent.
        """
        image_BCHW = self.normalize(modality_input(inputs, self.modality))
        if self.pooling == "model":
            return (self.projection(self.model(image_BCHW)),)
        features = self.model.forward_features(image_BCHW)
        if features.ndim == 4:  # a feature map: Swin and its kind put channels last
            is_channels_last = getattr(self.model, "output_fmt", "NCHW") == "NHWC"
            features = features.flatten(1, 2) if is_channels_last else features.flatten(2).transpose(1, 2)
        return (self.projection(features),)

    def _freeze_layers(self, timm: Any, freeze: bool | int | float) -> None:
        parameters = dict(self.model.named_parameters())
        backbone = [name for name in parameters if not name.startswith(_classifier_names(self.model))]
        layers = [backbone]
        if hasattr(self.model, "group_matcher"):
            groups = timm.models.group_parameters(self.model, self.model.group_matcher(coarse=False)).values()
            stem, first, *others = filter(None, ([name for name in group if name in backbone] for group in groups))
            layers = [stem + first, *others]
        num_layers = num_frozen_layers(freeze, len(layers), self)
        self.freeze_parameters(parameters[name] for layer in layers[:num_layers] for name in layer)


def _check_arguments(
    pooling: str, num_classes: int, pretrained: bool, checkpoint_path: str | None, model_kwargs: dict[str, Any]
) -> None:
    if pooling not in ("model", "none"):
        raise ValueError(f"Unknown pooling {pooling!r} for TimmEncoder. Allowed: model, none; else model_kwargs.global_pool.")
    if pooling == "none" and num_classes:
        raise ValueError(f"num_classes={num_classes} with pooling='none': the classifier needs pooled features.")
    if pretrained and checkpoint_path is not None:
        raise ValueError(f"Give pretrained=True or checkpoint_path={checkpoint_path!r}, not both.")
    if model_kwargs.get("features_only"):
        raise ValueError("features_only gives feature pyramids, which TimmEncoder does not embed. Use pooling='none'.")


def _create_model(timm: Any, name: str, pretrained: bool, image_size: Any, kwargs: dict[str, Any]) -> Any:
    is_hub = name.startswith(("hf-hub:", "hf_hub:", "local-dir:"))
    if not is_hub and not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(), n=3)
        hint = f"Did you mean {' or '.join(close)}?" if close else "timm.list_models() lists all."
        raise ValueError(f"timm has no model {name!r}. {hint}")
    try:
        if image_size is not None:
            try:
                return timm.create_model(name, pretrained=pretrained, img_size=image_size, **kwargs)
            except TypeError as error:
                if "img_size" not in str(error):
                    raise
        return timm.create_model(name, pretrained=pretrained, **kwargs)
    except (OSError, RuntimeError) as error:
        raise ValueError(
            f"TimmEncoder cannot get {name!r} (pretrained={pretrained}): {str(error).strip().splitlines()[0]} Allowed: "
            "pretrained=False (random weights), checkpoint_path with a local file, or a name with network."
        ) from error


def _classifier_names(model: nn.Module) -> tuple[str, ...]:
    names = model.pretrained_cfg.get("classifier") or ()  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]
    return tuple(f"{name}." for name in ([names] if isinstance(names, str) else names))


def _load_checkpoint(timm: Any, model: nn.Module, path: str) -> None:
    if not Path(path).is_file():
        raise ValueError(f"checkpoint_path {path!r} is not a file.")
    classifier, own = _classifier_names(model), model.state_dict()
    try:
        loaded = timm.models.load_state_dict(path, weights_only=True)
    except (OSError, RuntimeError, SafetensorError) as error:
        raise ValueError(f"TimmEncoder cannot read weights from {path!r}: {error}") from error
    fits = {
        name: tensor
        for name, tensor in loaded.items()
        if not name.startswith(classifier) or (name in own and own[name].shape == tensor.shape)
    }
    missing = [name for name in own if name not in fits and not name.startswith(classifier)]
    surplus = [name for name in fits if name not in own or fits[name].shape != own[name].shape]
    if missing or surplus:
        raise ValueError(
            f"The weights in {path!r} do not fit the model: {len(missing)} are missing {missing[:3]}, {len(surplus)} have no "
            f"place or another shape {surplus[:3]}."
        )
    model.load_state_dict(fits, strict=False)
