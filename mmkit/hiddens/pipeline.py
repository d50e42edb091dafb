"""Hidden transformations and losses in the order in which they are applied."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from mmkit.hiddens.building import build_parts
from mmkit.hiddens.checks import check_masks, check_returned, check_scalar, check_terms, check_tokens, warn_of_unread
from mmkit.hiddens.errors import ArgumentsError, HiddensError, did_you_mean, listed
from mmkit.hiddens.loss import BaseHiddenLoss
from mmkit.hiddens.names import ENC_OUTPUT, GIVEN, HIDDENS, Names
from mmkit.hiddens.reader import MASK, NamedInputs, Source
from mmkit.hiddens.transform import BaseHiddenTransform
from mmkit.hiddens.values import finite


_SETTINGS = ("transform", "loss", "enc_output_name", "tokens_loss_weight", "available")


# Shapes: B batch, S positions, H hidden size, Z latent size.
class HiddensPipeline(nn.Module):
    """Applies transformations to the output of an encoder, and losses to what comes of it.

    Without transformations and losses it hands the encoder's output on.

    Args:
        transform: Transformations by name, each ``{cls_name: …, **arguments}`` or a module; a dict, or a list of dicts. They run
            in the order in which they are written.
        loss: Losses by name, in the same form.
        enc_output_name: The tensor that the decoder reads, e.g. ``"z"``.
        tokens_loss_weight: Weight of the reconstruction in the joint loss.
        available: Names that the model puts in beside ``hiddens`` and ``hiddens_mask``, e.g. ``"text.hiddens"``.

    Raises:
        HiddensError: Something is misnamed or does not fit together; its message tells what exists. A ``ValueError``, and for
            ``cls_name`` also a ``KeyError``, for arguments also a ``TypeError``.

    Example:
        >>> import torch
        >>> pipeline = HiddensPipeline()
        >>> pipeline.apply_hidden_transforms({"hiddens": torch.ones(2, 3, 4)})["enc_output"].shape
        torch.Size([2, 3, 4])
    """

    def __init__(
        self,
        transform: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        loss: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        enc_output_name: str = HIDDENS,
        tokens_loss_weight: float = 1.0,
        available: Iterable[str] = (),
    ) -> None:
        super().__init__()
        transforms, losses = build_parts("transform", transform), build_parts("loss", loss)
        self.transforms = nn.ModuleDict(transforms)
        self.losses = nn.ModuleDict(losses)
        self.tokens_loss_weight = finite("hiddens.tokens_loss_weight", tokens_loss_weight)
        self.names = Names(dict.fromkeys((*GIVEN, *available)), transforms)
        self.enc_output_name = self.names.resolve(enc_output_name, "hiddens.enc_output_name")
        self._enc_output_mask = self.names.mask(self.enc_output_name)
        for name, each in losses.items():
            each.sources = self.names.bind(f"hiddens.loss.{name}", each)
        self._loss_sources = {name: each.sources for name, each in losses.items()}
        read = [source.name for each in (*transforms.values(), *losses.values()) for source in each.sources.values()]
        self._needed = {name for name in (self.enc_output_name, *read) if self.names.owner(name) is None} - {HIDDENS + MASK}
        check_terms(losses)
        check_tokens(losses, self.names, self.enc_output_name, self.tokens_loss_weight)
        warn_of_unread(transforms, self.names, self.enc_output_name)
        self._global_step = 0

    @property
    def global_step(self) -> int:
        """The optimizer step, by which scheduled weights go; set it before a step, outside of what is compiled."""
        return self._global_step

    @global_step.setter
    def global_step(self, step: int) -> None:
        self._global_step = step
        for loss in self._losses().values():
            loss.set_step(step)

    def apply_hidden_transforms(
        self, inputs: Mapping[str, Tensor], batch_data: Mapping[str, Any] | None = None
    ) -> dict[str, Tensor]:
        """Make all named tensors.

        Args:
            inputs: ``hiddens`` (B, S, H), ``hiddens_mask`` (B, S) with 1 or True for real positions (by default all are), and
                what else is ``available``.
            batch_data: Passed to every transformation.

        Returns:
            The inputs; every output as ``<name>.<output>``, and as ``<output>`` if no other one is called so; ``enc_output``
            (B, S, Z) and ``enc_output_mask`` (B, S).
        """
        named = dict(inputs)
        if HIDDENS in named:
            named.setdefault(HIDDENS + MASK, Source(HIDDENS, all_real=True).of(named))
        self.check(named)
        if not torch.compiler.is_compiling():
            check_masks(self.names.given, named)
        for name, transform in self._transforms().items():
            outputs = transform(_bound(transform, self.names.read_by(name)).gather(named), batch_data)
            check_returned(f"hiddens.transform.{name}", outputs, transform.output_names, "output_names")
            named.update({f"{name}.{own}": tensor for own, tensor in outputs.items()})
        named.update({short: named[full] for short, full in self.names.aliases.items()})
        named[ENC_OUTPUT] = named[self.enc_output_name]
        named[ENC_OUTPUT + MASK] = self._enc_output_mask.of(named)
        return named

    def apply_loss_transforms(
        self, outputs: Mapping[str, Tensor], batch_data: Mapping[str, Any] | None = None
    ) -> dict[str, Tensor]:
        """Compute the hidden losses.

        Args:
            outputs: What ``apply_hidden_transforms`` returned.
            batch_data: Passed to every loss.

        Returns:
            Scalars: ``loss``, the weighted sum; every term as ``<name>_<term>``, without weight; ``<name>_weight`` of those
            with a schedule.
        """
        named = {full: outputs[short] for short, full in self.names.aliases.items() if short in outputs} | dict(outputs)
        total, terms = next(iter(named.values())).new_zeros(()), {}
        for name, loss in self._losses().items():
            found = loss(_bound(loss, self._loss_sources[name]).gather(named), batch_data)
            check_returned(f"hiddens.loss.{name}", found, loss.term_names, "term_names")
            check_scalar(f"hiddens.loss.{name}", found["loss"])
            weight = loss.weight()
            total = total + weight * found["loss"]
            terms |= {f"{name}_{term}": value for term, value in found.items()}
            if isinstance(weight, Tensor):
                terms[f"{name}_weight"] = weight
        return {"loss": total, **terms}

    def joint_loss(self, tokens_loss: Tensor, terms: Mapping[str, Tensor]) -> Tensor:
        """``tokens_loss_weight · tokens_loss + Σ loss_weight · hidden loss``.

        Args:
            tokens_loss: Scalar, the reconstruction.
            terms: What ``apply_loss_transforms`` returned.
        """
        return self.tokens_loss_weight * tokens_loss + terms["loss"]

    @property
    def num_positions(self) -> int | None:
        """Positions of ``enc_output``; None if it has as many as the encoder's output."""
        return self.names.fixed_positions(self.enc_output_name)

    def mask_name(self, name: str) -> str | None:
        """The full name of the mask of a tensor; None if all of its positions are real."""
        source = self.names.mask(self.names.resolve(name, "name"))
        return None if source.all_real else source.name

    def prior_shape(self, num_positions: int | None = None) -> tuple[int, int]:
        """Positions and size (S, Z) of what is drawn from the prior N(0, I) in place of ``enc_output``.

        Args:
            num_positions: Positions to draw; needed unless the transformations make a fixed number of them.
        """
        owner, key = self.names.owner(self.enc_output_name), f"hiddens.enc_output_name={self.enc_output_name}"
        size = None if owner is None else self._transforms()[owner].latent_size
        if size is None:
            latent = [name for name, each in self._transforms().items() if each.latent_size is not None]
            raise HiddensError(f"{key} has no prior to draw from; name a latent variable there. Those of: {listed(latent)}.")
        fixed = self.num_positions
        if fixed is None and num_positions is None:
            raise HiddensError(f"{key} has as many positions as the encoder's output. Say how many to draw: num_positions.")
        if fixed is not None and num_positions not in (None, fixed):
            raise HiddensError(f"num_positions={num_positions}: {key} always has {fixed}. Leave num_positions out.")
        return fixed or num_positions or 0, size

    def check(self, available: Iterable[str]) -> None:
        """Hold what the model gives against what the pipeline reads.

        Args:
            available: Names that the model gives.

        Raises:
            HiddensError: One is missing.
        """
        missing = sorted(self._needed.difference(available))
        if missing:
            gives = f"It gives: {listed(sorted(available))}."
            raise HiddensError(f"The hiddens need {listed(missing)}, which the model does not give. {gives}")

    def extra_repr(self) -> str:
        return f"enc_output_name={self.enc_output_name}, tokens_loss_weight={self.tokens_loss_weight:g}"

    def _transforms(self) -> dict[str, BaseHiddenTransform]:
        return dict(self.transforms.items())  # pyright: ignore[reportReturnType]

    def _losses(self) -> dict[str, BaseHiddenLoss]:
        return dict(self.losses.items())  # pyright: ignore[reportReturnType]


def _bound(part: NamedInputs, sources: dict[str, Source]) -> NamedInputs:
    """A part that reads what it reads in this pipeline; it can be in another one, too."""
    if part.sources is not sources:
        part.sources = sources
    return part


def get_hiddens_module(cfg: Mapping[str, Any] | HiddensPipeline | None = None, available: Iterable[str] = ()) -> HiddensPipeline:
    """The pipeline that a configuration describes.

    Args:
        cfg: The arguments of :class:`HiddensPipeline`; or a pipeline, which is checked and returned; or None for one that hands
            the encoder's output on.
        available: Names that the model puts in beside ``hiddens`` and ``hiddens_mask``.
    """
    available = tuple(available)
    if isinstance(cfg, HiddensPipeline):
        cfg.check((*GIVEN, *available))
        return cfg
    settings: Any = OmegaConf.to_container(cfg, resolve=True) if OmegaConf.is_config(cfg) else cfg
    settings = {} if settings is None else settings
    if not isinstance(settings, Mapping):
        raise ArgumentsError(f"hiddens={cfg!r}: it is a dict with {listed(_SETTINGS)}; or null.")
    unknown = [name for name in settings if name not in _SETTINGS]
    if unknown:
        close = did_you_mean(unknown[0], _SETTINGS)
        raise ArgumentsError(f"hiddens.{unknown[0]} is no setting.{close} There are: {listed(_SETTINGS)}.")
    names = dict.fromkeys((*available, *(settings.get("available") or ())))
    return HiddensPipeline(**{**settings, "available": names})
