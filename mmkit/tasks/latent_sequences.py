"""What a trained encoder–decoder is asked for: latents of texts, texts of latents."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mmkit.datasets.core import Modalities
from mmkit.datasets.tokenizers.base import TextTokenizer
from mmkit.models.encoder_decoder import EncoderDecoder, normal, row_seeds
from mmkit.rng import derived_key
from mmkit.tasks.base import TrainingTask
from mmkit.tasks.frozen import frozen
from mmkit.tasks.latent_interpolation import slerp
from mmkit.tasks.posterior_means import posterior_means


DEFAULT_MAX_LENGTH = 128  # tokens, where neither the call nor the tokenizer says how long a text may get

FIXED_POSITIONS = "a fixed number of positions: a perceiver or mean_pool transform, or task.model.encoder.arch=perceiver"


# Shapes: B texts, S hidden positions, Z latent size, T tokens, N samples, P points of a path, D = Z.
class Latents(NamedTuple):
    """Latents with their mask.

    Attributes:
        z: Latents (B, S, Z); zero where the mask is.
        mask: Which positions are real, bool (B, S).
    """

    z: Tensor
    mask: Tensor


Texts = str | Sequence[str]


class LatentSequences(TrainingTask):
    """Base of tasks on an encoder–decoder: encode, decode, reconstruct, sample and interpolate.

    All methods work in evaluation mode and without gradients, put every module back into its mode and leave torch's random state
    alone (``seed=None`` draws one number from it). Latents of inputs are posterior means, also where a transform says
    ``sample_in_eval``: that is for losses and metrics of evaluation, and here a draw would differ by call and by batch.
    A text is decoded alike whatever stands beside it: batches of another size give the same texts for the same seed.

    Attributes:
        model: The :class:`~mmkit.models.encoder_decoder.EncoderDecoder`.
        tokenizer: Texts to ids and back; None if only tensors are worked with.
    """

    model: EncoderDecoder
    tokenizer: TextTokenizer | None

    @property
    def embedded_modalities(self) -> list[str]:
        """Modalities of which ``encode(inputs, modality)`` gives latents."""
        return self.model.modalities

    def encode(self, inputs: Texts | Mapping[str, Any], modality: str | None = None, batch_size: int = 64) -> Tensor:
        """Latents of texts or of a batch.

        Args:
            inputs: One text, a list of texts, or a batch of tensors by name, which is encoded whole.
            modality: Encode this modality alone and average its latents over their positions: what evaluation tasks such as
                retrieval and nearest neighbours compare. Mode and gradients are then the caller's, as for any task.
            batch_size: Texts at once.

        Returns:
            Latents (B, S, Z), under the name that ``enc_output_name`` says; with ``modality`` their means (B, Z).

        Raises:
            ValueError: If rows have different numbers of positions, which a tensor alone cannot say: see :meth:`latents`.
        """
        if modality is not None:
            return _mean_over_positions(self._encoded(self._of_modality(inputs, modality)))
        latents = self.latents(inputs, batch_size)
        if not bool(latents.mask.all()):
            raise ValueError(
                "These inputs have different numbers of latent positions. Use latents(inputs), which returns their mask beside "
                f"them, or {FIXED_POSITIONS}."
            )
        return latents.z

    def latents(self, inputs: Texts | Mapping[str, Any], batch_size: int = 64) -> Latents:
        """Like :meth:`encode`, with the mask of the positions: ``decode(*task.latents(texts))``."""
        with frozen(self):
            parts = [self._encoded(batch) for batch in self._batches(inputs, batch_size)]
        length = max(part.z.shape[1] for part in parts)
        missing = [length - part.z.shape[1] for part in parts]
        return Latents(
            torch.cat([F.pad(part.z, (0, 0, 0, more)) for part, more in zip(parts, missing, strict=True)]),
            torch.cat([F.pad(part.mask, (0, more)) for part, more in zip(parts, missing, strict=True)]),
        )

    def decode(self, z: Tensor, mask: Tensor | None = None, **options: Any) -> list[str]:
        """Texts of latents.

        Args:
            z: Latents (B, S, Z).
            mask: Which positions are real (B, S). Default: all.
            **options: See :meth:`decode_ids`.

        Returns:
            B texts.
        """
        tokenizer = self._tokenizer()
        return [tokenizer.decode(ids_T[: _length(ids_T, tokenizer.eos_id)]) for ids_T in self.decode_ids(z, mask, **options)]

    def decode_ids(
        self,
        z: Tensor,
        mask: Tensor | None = None,
        method: str = "greedy",
        max_length: int | None = None,
        seed: int | None = None,
        batch_size: int = 64,
        **options: Any,
    ) -> Tensor:
        """Ids of the texts of latents.

        Args:
            z: Latents (B, S, Z).
            mask: Which positions are real (B, S). Default: all.
            method: ``"greedy"``, ``"beam"`` or ``"sample"``.
            max_length: Most tokens of a text. Default: the tokenizer's, or 128.
            seed: Of ``"sample"``; row i depends on ``(seed, i)``. Default: drawn from torch's generator.
            batch_size: Rows at once.
            **options: Of the method: ``num_beams``, ``length_penalty``; ``temperature``, ``top_k``, ``top_p``.

        Returns:
            Ids (B, T): each row without begin, then its end token, then padding.
        """
        if z.ndim != 3:
            raise ValueError(f"Latents are (batch, positions, size), got the shape {tuple(z.shape)}.")
        max_length = max_length or getattr(self.tokenizer, "max_length", None) or DEFAULT_MAX_LENGTH
        options |= {"method": method, "max_length": max_length}
        seed_B = row_seeds(_drawn(seed), len(z)) if method == "sample" else None
        parts = []
        with frozen(self):
            for first in range(0, len(z), batch_size):
                rows = slice(first, first + batch_size)
                mask_BS = None if mask is None else mask[rows].to(self.device)
                seeds = None if seed_B is None else seed_B[rows]
                parts.append(self.model.generate(z[rows].to(self.device), mask_BS, seed=seeds, **options))
        length = max((part.shape[1] for part in parts), default=0)
        padded = [F.pad(part, (0, length - part.shape[1]), value=self.model.pad_id or 0) for part in parts]
        return torch.cat(padded) if padded else torch.zeros(0, 0, dtype=torch.long)

    def reconstruct(self, inputs: Texts | Mapping[str, Any], batch_size: int = 64, **options: Any) -> list[str]:
        """Encode and decode.

        Args:
            inputs: See :meth:`encode`; with an encoder of pictures this describes them.
            batch_size: Rows at once.
            **options: See :meth:`decode_ids`.

        Returns:
            B texts.
        """
        latents = self.latents(inputs, batch_size)
        return self.decode(latents.z, latents.mask, batch_size=batch_size, **options)

    def sample_latents(self, n: int, seed: int | None = None, num_positions: int | None = None) -> Tensor:
        """Draws of the prior N(0, I), (N, S, Z), on the CPU; row i depends on ``(seed, i)`` and on S·Z, not on n.

        Args:
            n: How many.
            seed: Same seed, same draws, on every device. Default: drawn from torch's generator.
            num_positions: S, where no transform fixes it.
        """
        fixed = self.model.num_positions
        if fixed is not None and num_positions not in (None, fixed):
            raise ValueError(f"num_positions={num_positions}: this model always has {fixed} latent positions. Leave it out.")
        shape = self.model.hiddens.prior_shape(num_positions or fixed)
        seed_N = row_seeds(derived_key(_drawn(seed), "latents"), n)  # other numbers than those that draw tokens with this seed
        return normal(seed_N, math.prod(shape)).view(n, *shape).to(torch.get_default_dtype())

    def sample(self, n: int, seed: int | None = None, num_positions: int | None = None, **options: Any) -> list[str]:
        """Texts of draws of the prior: z ~ N(0, I), then :meth:`decode`.

        Args:
            n: How many.
            seed: Of the latents and, with ``method="sample"``, of the tokens; text i depends on ``(seed, i)``, not on n.
            num_positions: Latent positions S, where no transform fixes them.
            **options: See :meth:`decode_ids`.

        Returns:
            N texts.
        """
        seed = _drawn(seed)
        return self.decode(self.sample_latents(n, seed, num_positions), seed=derived_key(seed, "tokens"), **options)

    def interpolate(self, a: str | Tensor, b: str | Tensor, steps: int = 10, **options: Any) -> list[str]:
        """Texts along the way from one latent to another, on a great circle; see :func:`~mmkit.tasks.latent_interpolation.slerp`.

        Args:
            a: Start: a text, or its latents (S, Z).
            b: End.
            steps: Number of texts; the first is the reconstruction of ``a``, the last that of ``b``.
            **options: See :meth:`decode_ids`.

        Returns:
            P texts.

        Raises:
            ValueError: If the two have different numbers of positions.
        """
        start_SZ, end_SZ = (x.to(self.device) if isinstance(x, Tensor) else self.encode(x)[0] for x in (a, b))
        if start_SZ.shape != end_SZ.shape:
            raise ValueError(
                f"There is no path from latents of the shape {tuple(start_SZ.shape)} to {tuple(end_SZ.shape)}. Use "
                f"{FIXED_POSITIONS}."
            )
        return self.decode(slerp(start_SZ, end_SZ, steps), **options)

    # Reading

    def _tokenizer(self) -> TextTokenizer:
        if self.tokenizer is None:
            raise ValueError("There is no tokenizer. Name one: /datasets/tokenizers@task.tokenizer: ByteTokenizer.")
        return self.tokenizer

    def _batches(self, inputs: Texts | Mapping[str, Any], batch_size: int) -> Iterator[Mapping[str, Any]]:
        if isinstance(inputs, Mapping):
            yield inputs
            return
        texts = [inputs] if isinstance(inputs, str) else list(inputs)
        if not texts:
            raise ValueError("There is no text to encode: the list is empty.")
        for first in range(0, len(texts), batch_size):
            yield self._tokenized(texts[first : first + batch_size])

    def _tokenized(self, texts: list[str]) -> dict[str, Tensor]:
        tokenizer = self._tokenizer()
        if tokenizer.modality not in self.model.modalities:
            raise ValueError(
                f"The model encodes {', '.join(self.model.modalities)}, and the tokenizer writes {tokenizer.modality!r}. Give a "
                f"batch instead of texts, e.g. {{{self.model.modalities[0]!r}: tensor}}."
            )
        return tokenizer(texts)

    def _of_modality(self, inputs: Texts | Mapping[str, Any], modality: str) -> dict[str, Any]:
        """What a batch has of one modality: the tensor and its masks."""
        if not isinstance(inputs, Mapping):
            inputs = self._tokenized([inputs] if isinstance(inputs, str) else list(inputs))
        if modality not in self.model.modalities:
            raise ValueError(f"No encoder for the modality {modality!r}. The model encodes: {', '.join(self.model.modalities)}.")
        keys = (modality, *Modalities.get_modality(modality).properties.values())
        return {key: inputs[key] for key in keys if key in inputs}

    def _encoded(self, inputs: Mapping[str, Any]) -> Latents:
        """Latents of a batch, in the mode that the model is in; in evaluation mode nothing is drawn."""
        with posterior_means(self.model.hiddens):
            outputs = self.model.encode(self.transfer_batch_to_device(dict(inputs), self.device, dataloader_idx=0))
        z_BSZ, mask_BS = outputs["enc_output"], outputs["enc_output_mask"].bool()
        return Latents(z_BSZ * mask_BS.unsqueeze(-1), mask_BS)


def _mean_over_positions(latents: Latents) -> Tensor:
    return latents.z.sum(1) / latents.mask.sum(1, keepdim=True).clamp(min=1)


def _drawn(seed: int | None) -> int:
    """The seed itself, or one from torch's generator."""
    return int(torch.randint(2**62, ())) if seed is None else int(seed)


def _length(ids_T: Tensor, eos_id: int | None) -> int:
    """Number of ids before the first end token."""
    ends = [] if eos_id is None else (ids_T == eos_id).nonzero()
    return int(ends[0]) if len(ends) else len(ids_T)
