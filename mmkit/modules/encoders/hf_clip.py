"""Text and image towers of Hugging Face CLIP models."""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from mmkit.conf.store import external_store
from mmkit.datasets.core import Modalities
from mmkit.extras import require
from mmkit.modules.encoders.fine_tuning import choose_trainable
from mmkit.modules.encoders.freezing import FreezableEncoder
from mmkit.modules.encoders.hf_loading import load_model
from mmkit.modules.encoders.inputs import check_length, modality_input, padding_mask
from mmkit.modules.layers.image_normalize import ImageNormalize


# Shapes: B batch, C channels, H × W pixels, L tokens of a text, N tokens of an image (the class token first), D embedding dim.


class _CLIPTower(FreezableEncoder):
    artifact_arguments = ("model_name_or_path",)
    initial_weights_arguments: ClassVar = {"pretrained": False}
    tower: str  # "Text" or "Vision"
    output_name: str

    def __init__(
        self,
        model_name_or_path: str | None,
        config: dict[str, Any] | None,
        pretrained: bool,
        projection: bool,
        pooling: str,
        modality: str,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if pooling not in ("pooler", "none"):
            raise ValueError(f"Unknown pooling {pooling!r} for {name}. Allowed: pooler, none.")
        if projection and pooling == "none":
            raise ValueError(f"{name}: CLIP projects the pooled output. Use pooling='pooler' with projection=True.")
        if model_name_or_path is None and config is None:
            raise ValueError(
                f"{name} needs `model_name_or_path` (a hub name or a directory) or `config` ({{}} is CLIP ViT-B/32)."
            )
        transformers = require("transformers", extra="text", needed_by=name)
        model_class = getattr(transformers, f"CLIP{self.tower}Model{'WithProjection' if projection else ''}")
        self.model = load_model(model_class, model_name_or_path, config, pretrained, name)
        self.modality, self.pooling, self.projection = Modalities.get_modality(modality).name, pooling, projection

    def _output(self, **model_inputs: Any) -> tuple[Tensor]:
        output = self.model(**model_inputs)
        if self.pooling == "none":
            return (output.last_hidden_state,)
        return (output[self.output_name] if self.projection else output.pooler_output,)


@external_store(group="modules/encoders", name="HFCLIPTextEncoderWithProjection", projection=True)
@external_store(group="modules/encoders")
class HFCLIPTextEncoder(_CLIPTower):
    """Encode token ids with the text tower of a Hugging Face CLIP model (https://arxiv.org/abs/2103.00020).

    Args:
        model_name_or_path: Hub name, local directory, or ``pkg://package/folder`` of a CLIP model.
        config: Beside a name: entries that override its configuration. Alone: arguments of ``CLIPTextConfig``; nothing is
            downloaded, weights are random.
        pretrained: Whether the weights of ``model_name_or_path`` are loaded; if not they are random.
        projection: Whether CLIP's projection into the joint space is applied.
        pooling: ``"pooler"`` takes the end-of-text token, as CLIP does; ``"none"`` gives (B, L, D).
        freeze: As for :class:`HFTextEncoder`; ``1.0`` and true include the projection.
        freeze_layer_norm: Whether layer norms in the frozen part are frozen too.
        peft_config: Arguments of a peft configuration, as for :class:`HFTextEncoder`.
        modality: The modality that is read.

    Raises:
        ValueError: The model cannot be loaded, unknown pooling, or more layers to freeze than there are.
    """

    tower, output_name = "Text", "text_embeds"

    def __init__(
        self,
        model_name_or_path: str | None = None,
        config: dict[str, Any] | None = None,
        pretrained: bool = True,
        projection: bool = False,
        pooling: str = "pooler",
        freeze: bool | int | float = False,
        freeze_layer_norm: bool = True,
        peft_config: dict[str, Any] | None = None,
        modality: str = "text",
    ) -> None:
        super().__init__(model_name_or_path, config, pretrained, projection, pooling, modality)
        self.max_length = self.model.config.max_position_embeddings
        choose_trainable(self, freeze, freeze_layer_norm, peft_config)

    def forward(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor]:
        """Encode a batch of texts.

        Args:
            inputs: Token ids (B, L) under the modality's name, and possibly their ``attention_mask``.

        Returns:
            Embeddings (B, D), or (B, L, D) without pooling.

        Raises:
            ValueError: The modality is absent or the text is longer than the model takes.
        """
        token_ids_BL = modality_input(inputs, self.modality)
        check_length(token_ids_BL, self.max_length, self)
        return self._output(input_ids=token_ids_BL, attention_mask=padding_mask(inputs, self.modality))


@external_store(group="modules/encoders", name="HFCLIPVisionEncoderWithProjection", projection=True)
@external_store(group="modules/encoders")
class HFCLIPVisionEncoder(_CLIPTower):
    """Encode images of any size with the image tower of a Hugging Face CLIP model (https://arxiv.org/abs/2103.00020).

    Args:
        model_name_or_path: Hub name, local directory, or ``pkg://package/folder`` of a CLIP model.
        config: Beside a name: entries that override its configuration. Alone: arguments of ``CLIPVisionConfig``; nothing is
            downloaded, weights are random.
        pretrained: Whether the weights of ``model_name_or_path`` are loaded; if not they are random.
        projection: Whether CLIP's projection into the joint space is applied.
        pooling: ``"pooler"`` takes the normalised class token, as CLIP does; ``"none"`` gives (B, N, D).
        freeze: As for :class:`HFTextEncoder`; ``1.0`` and true include the projection.
        freeze_layer_norm: Whether layer norms in the frozen part are frozen too.
        peft_config: Arguments of a peft configuration, as for :class:`HFTextEncoder`.
        normalization: How integer pixels are normalised: ``"clip"``, ``"imagenet"`` or ``"half"``.
        modality: The modality that is read.

    Raises:
        ValueError: The model cannot be loaded, unknown pooling, or more layers to freeze than there are.
    """

    tower, output_name = "Vision", "image_embeds"

    def __init__(
        self,
        model_name_or_path: str | None = None,
        config: dict[str, Any] | None = None,
        pretrained: bool = True,
        projection: bool = False,
        pooling: str = "pooler",
        freeze: bool | int | float = False,
        freeze_layer_norm: bool = True,
        peft_config: dict[str, Any] | None = None,
        normalization: str = "clip",
        modality: str = "rgb",
    ) -> None:
        super().__init__(model_name_or_path, config, pretrained, projection, pooling, modality)
        self.normalize = ImageNormalize(normalization)
        self.image_size = self.model.config.image_size
        if pooling == "none":
            self.model.post_layernorm.requires_grad_(False)  # not used; distributed training would wait for its gradient
        choose_trainable(self, freeze, freeze_layer_norm, peft_config)

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
        is_other_size = tuple(image_BCHW.shape[-2:]) != (self.image_size, self.image_size)
        return self._output(pixel_values=image_BCHW, interpolate_pos_encoding=is_other_size)
