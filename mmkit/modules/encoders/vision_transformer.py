"""Vision transformer."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmkit.conf.store import external_store
from mmkit.datasets.core import Modalities
from mmkit.modules.encoders.inputs import modality_input
from mmkit.modules.layers.drop_path import growing_rates
from mmkit.modules.layers.image_normalize import ImageNormalize
from mmkit.modules.layers.patch_dropout import PatchDropout, take_tokens
from mmkit.modules.layers.patch_embedding import PatchEmbedding, height_and_width, resize_position_embedding
from mmkit.modules.layers.pooling import AttentionPool, cls_pool, mean_pool
from mmkit.modules.layers.transformer_block import TransformerBlock, init_transformer_weights


# Shapes: B batch, C channels, H × W pixels, N patches, K visible patches, T tokens, D embedding dim.

POOLINGS = ("cls", "avg", "map", "none")


@external_store(group="modules/encoders", name="vit_giant", patch_size=14, width=1408, depth=40, num_heads=16, mlp_ratio=48 / 11)
@external_store(group="modules/encoders", name="vit_huge", patch_size=14, width=1280, depth=32, num_heads=16)
@external_store(group="modules/encoders", name="vit_large", width=1024, depth=24, num_heads=16)
@external_store(group="modules/encoders", name="vit_base", width=768, depth=12, num_heads=12)
@external_store(group="modules/encoders", name="vit_small", width=384, depth=12, num_heads=6)
@external_store(group="modules/encoders", name="vit_tiny", width=192, depth=12, num_heads=3)
@external_store(group="modules/encoders")
class VisionTransformer(nn.Module):
    """Encode an image of any size as a sequence of patches (https://arxiv.org/abs/2010.11929).

    Args:
        image_size: Size in pixels for which positions are learned, or [height, width]. For images of another size they are
            interpolated.
        patch_size: Side of a patch in pixels, or [height, width]. Patches that reach beyond the border are filled with zeros.
        in_channels: Channels of the image.
        width: Embedding size D.
        depth: Number of blocks; ``0`` is the patch projection and positions alone, normalised.
        num_heads: Attention heads; must divide ``width``.
        mlp_ratio: Hidden size of the MLPs in units of ``width``.
        pooling: ``"cls"`` (an added class token), ``"avg"`` (of visible patches), ``"map"`` (attention with a learned query) or
            ``"none"``: the output is then (B, N, D).
        dropout: Probability of dropping a unit or an attention weight.
        drop_path: Probability of dropping a branch in the last block; it grows linearly from zero in the first.
        layer_scale: Initial factor of the branches; None adds them as they are.
        patch_dropout: Share of the patches that is left out while training (https://arxiv.org/abs/2212.00794).
        normalization: How integer pixels are normalised: ``"imagenet"``, ``"clip"`` or ``"half"`` (any number of channels).
        modality: The modality that is read.

    Raises:
        ValueError: Unknown pooling or normalisation, or ``num_heads`` does not divide ``width``.
    """

    def __init__(
        self,
        image_size: int | list[int] = 224,
        patch_size: int | list[int] = 16,
        in_channels: int = 3,
        width: int = 768,
        depth: int = 12,
        num_heads: int = 12,
        mlp_ratio: float = 4.0,
        pooling: str = "cls",
        dropout: float = 0.0,
        drop_path: float = 0.0,
        layer_scale: float | None = None,
        patch_dropout: float = 0.0,
        normalization: str = "imagenet",
        modality: str = "rgb",
    ) -> None:
        super().__init__()
        if pooling not in POOLINGS:
            raise ValueError(f"Unknown pooling {pooling!r}. Allowed: {', '.join(POOLINGS)}.")
        self.modality, self.pooling = Modalities.get_modality(modality).name, pooling
        self.normalize = ImageNormalize(normalization)
        self.patch_embed = PatchEmbedding(width, patch_size, in_channels)
        self.grid = self.patch_embed.grid(*height_and_width(image_size))
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, self.grid[0] * self.grid[1], width))
        self.cls_token = nn.Parameter(0.02 * torch.randn(1, 1, width)) if pooling == "cls" else None
        self.patch_dropout = PatchDropout(patch_dropout)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            TransformerBlock(width, num_heads, mlp_ratio, dropout=dropout, drop_path=rate, layer_scale=layer_scale)
            for rate in growing_rates(drop_path, depth)
        )
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.map_pool = AttentionPool(width, num_heads, mlp_ratio) if pooling == "map" else None
        self.apply(init_transformer_weights)

    def input_spec(self) -> dict[str, Tensor]:
        """What an example holds for this encoder, without values; for ``mmkit plan``, where nothing else says it."""
        sizes = [number * side for number, side in zip(self.grid, self.patch_embed.patch_size, strict=True)]
        return {self.modality: torch.empty(self.patch_embed.proj.in_channels, *sizes, dtype=torch.uint8, device="meta")}

    def forward(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor]:
        """Encode a batch of images.

        Args:
            inputs: Images (B, C, H, W) under the modality's name: integers from 0 to 255, or floating-point and normalised.
                Possibly a patch mask under ``<modality>_mask``: either booleans (B, N) or (B, H / patch, W / patch), True
                where a patch is hidden, or the indices (B, K) of the visible patches, as in I-JEPA (https://arxiv.org/abs/2301.08243).

        Returns:
            Embeddings (B, D). Without pooling (B, N, D), zero where a patch is hidden, or (B, K, D) for indices.

        Raises:
            ValueError: The modality is absent, or the mask does not fit the image.
        """
        patches_BND = self._patches(modality_input(inputs, self.modality))
        x_BKD, visible_BK = self._visible(patches_BND, inputs.get(Modalities.get_modality(self.modality).mask))
        if self.training and self.patch_dropout.rate > 0:
            index = self.patch_dropout.kept(x_BKD.shape[0], x_BKD.shape[1], x_BKD.device)
            x_BKD = take_tokens(x_BKD, index)
            visible_BK = None if visible_BK is None else visible_BK.gather(1, index)
        if self.cls_token is not None:
            x_BKD = torch.cat([self.cls_token.expand(len(x_BKD), -1, -1), x_BKD], dim=1)
            visible_BK = None if visible_BK is None else F.pad(visible_BK, (1, 0), value=True)
        x_BTD = self.dropout(x_BKD)
        for block in self.blocks:
            x_BTD = block(x_BTD, visible_BK)
        return (self._pool(self.norm(x_BTD), visible_BK),)

    def _patches(self, image_BCHW: Tensor) -> Tensor:
        patches_BND = self.patch_embed(self.normalize(image_BCHW))
        grid = self.patch_embed.grid(*image_BCHW.shape[-2:])
        return patches_BND + resize_position_embedding(self.pos_embed, self.grid, grid)

    def _visible(self, x_BND: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The tokens to encode, and which of them may be seen if not all."""
        if mask is None:
            return x_BND, None
        mask_BN, num_patches = mask.flatten(1), x_BND.shape[1]
        holds_indices = mask.dtype != torch.bool
        if len(mask) != len(x_BND) or (mask_BN.shape[1] >= num_patches if holds_indices else mask_BN.shape[1] != num_patches):
            raise ValueError(
                f"A patch mask of shape {tuple(mask.shape)} and {mask.dtype} does not fit {len(x_BND)} images of {num_patches} "
                "patches. Allowed: booleans, one per patch, True where it is hidden; or the indices of the visible patches, "
                "fewer than there are patches."
            )
        return (take_tokens(x_BND, mask_BN), None) if holds_indices else (x_BND, ~mask_BN)

    def _pool(self, x_BTD: Tensor, visible_BT: Tensor | None) -> Tensor:
        if self.pooling == "cls":
            return cls_pool(x_BTD)
        if self.pooling == "avg":
            return mean_pool(x_BTD, visible_BT)
        if self.map_pool is not None:
            return self.map_pool(x_BTD, visible_BT)
        return x_BTD if visible_BT is None else x_BTD * visible_BT.unsqueeze(-1)
