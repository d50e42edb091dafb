"""The image transforms that timm's models were trained and evaluated with."""

from typing import Any

from PIL import Image
from torch import Tensor

from mmkit.conf.store import external_store
from mmkit.datasets.images import as_rgb_tensor
from mmkit.extras import require


class TimmTransform:
    """A timm transform that also takes tensors, and images of any mode."""

    def __init__(self, transform: Any) -> None:
        self.transform = transform

    def __call__(self, image: Image.Image | Tensor) -> Tensor:
        rgb_HWC = as_rgb_tensor(image).permute(1, 2, 0).numpy()
        return self.transform(Image.fromarray(rgb_HWC))


@external_store(group="datasets/transforms")
def timm_transform(
    size: int | None = None, model: str | None = None, is_training: bool = False, timm_kwargs: dict[str, Any] | None = None
) -> TimmTransform:
    """Make timm's transform for a size or a model.

    Args:
        size: Side of the result in pixels; default: the size that ``model`` was trained for.
        model: Name of a timm model, whose size, interpolation and crop are taken.
        is_training: Random crop, flip and colour jitter, instead of resizing and cropping the centre.
        timm_kwargs: Further arguments of ``timm.data.create_transform``, e.g. ``{"auto_augment": "rand-m9-mstd0.5"}``.

    Returns:
        A function of one Pillow image or uint8 tensor (C, H, W) that returns uint8 (3, size, size). timm draws from torch and
        from Python's and NumPy's global generators.

    Raises:
        ValueError: If neither ``size`` nor ``model`` is given, or timm does not know the model.
    """
    if size is None and model is None:
        raise ValueError("timm_transform needs a `size`, a `model`, or both.")
    create = require("timm.data", extra="vision", needed_by="timm_transform").create_transform
    settings = _model_settings(model) if model is not None else {}
    if size is not None:
        settings["input_size"] = (3, size, size)
    return TimmTransform(create(**settings, is_training=is_training, normalize=False, **timm_kwargs or {}))


def _model_settings(model: str) -> dict[str, Any]:
    timm = require("timm", extra="vision", needed_by="timm_transform")
    config = timm.get_pretrained_cfg(model) if timm.is_model(model.partition(".")[0]) else None
    if config is None:
        near = timm.list_models(f"*{model.partition('_')[0]}*")[:5]
        raise ValueError(f"timm knows no model {model!r}." + (f" It knows, e.g.: {', '.join(near)}." if near else ""))
    settings = timm.data.resolve_data_config(pretrained_cfg=config.to_dict())
    return {key: settings[key] for key in ("input_size", "interpolation", "crop_pct", "crop_mode", "mean")}
