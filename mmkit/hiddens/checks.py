"""What must hold of the parts of a pipeline together, and of what they return."""

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from mmkit.hiddens.errors import HiddensError, listed
from mmkit.hiddens.loss import BaseHiddenLoss
from mmkit.hiddens.names import Names
from mmkit.hiddens.reader import MASK
from mmkit.hiddens.transform import BaseHiddenTransform
from mmkit.hiddens.values import name_tuple


logger = logging.getLogger(__name__)


def check_terms(losses: Mapping[str, BaseHiddenLoss]) -> None:
    """Every loss has the term ``loss``, and no two log under one name."""
    keys: dict[str, str] = {}
    for name, loss in losses.items():
        name_tuple(_key(name, loss), "term_names", loss.term_names)
        if "loss" not in loss.term_names:
            raise HiddensError(f"{_key(name, loss)} makes no term 'loss'; its term_names are: {listed(loss.term_names)}.")
        for term in (*loss.term_names, "weight"):
            if f"{name}_{term}" in keys:
                other = keys[f"{name}_{term}"]
                raise HiddensError(f"hiddens.loss.{name} and hiddens.loss.{other} both log {name}_{term}. Rename one of them.")
            keys[f"{name}_{term}"] = name


def check_tokens(losses: Mapping[str, BaseHiddenLoss], names: Names, enc_output: str, tokens_loss_weight: float) -> None:
    """A loss that contains the reconstruction is the only one that does, and decodes what the decoder reads."""
    for name, loss in losses.items():
        if loss.includes_tokens and tokens_loss_weight != 0:
            raise HiddensError(
                f"hiddens.tokens_loss_weight={tokens_loss_weight:g} would count the reconstruction twice, because "
                f"{_key(name, loss)} contains it. Set hiddens.tokens_loss_weight=0."
            )
        decoded = {own: each.name for own, each in loss.sources.items() if names.latent(each.name)}
        for own, full_name in decoded.items() if loss.includes_tokens else ():
            if names.owner(full_name) != names.owner(enc_output):
                raise HiddensError(
                    f"{_key(name, loss)} decodes draws of what {full_name} describes, but the decoder reads "
                    f"hiddens.enc_output_name={enc_output}. Both must be of one transformation: change enc_output_name, or {own} "
                    f"in hiddens.loss.{name}.inputs."
                )


def check_positions(losses: Mapping[str, BaseHiddenLoss], enc_output: str, num_positions: int | None) -> None:
    """A loss that compares latents of different examples has as many positions for each of them.

    Args:
        losses: Losses by name.
        enc_output: Full name of what the decoder reads.
        num_positions: How many positions that always has; None if that depends on the example.

    Raises:
        HiddensError: A loss needs as many for every example.
    """
    for name, loss in losses.items():
        if loss.needs_fixed_positions and num_positions is None:
            raise HiddensError(
                f"{_key(name, loss)} needs as many positions for every example, but how many {enc_output} has depends on the "
                "example. Put a transformation mean_pool or perceiver before the posterior, or set arch: perceiver in the "
                "encoder. A class of your own says how many it always makes in its attribute num_positions."
            )


def check_masks(given: Iterable[str], named: Mapping[str, Tensor]) -> None:
    """Masks that a pipeline is given have the shape (B, S) of what they are beside."""
    for name in given:
        if name in named and name + MASK in named and named[name + MASK].shape != named[name].shape[:2]:
            mask, shape = tuple(named[name + MASK].shape), tuple(named[name].shape)
            raise HiddensError(f"{name}{MASK} has the shape {mask}, but {name} {shape}. Give a mask of shape {shape[:2]}.")


def warn_of_unread(transforms: Mapping[str, BaseHiddenTransform], names: Names, enc_output: str) -> None:
    """Warn if the decoder reads no latent variable although there is one: most likely enc_output_name was forgotten."""
    read = {source.name for each in transforms.values() for source in each.sources.values()}
    latent = [name for name, each in transforms.items() if each.latent_size is not None]
    if latent and not any(map(names.latent, (enc_output, *read))):
        output = f"{latent[-1]}.{transforms[latent[-1]].output_names[0]}"
        wanted = f"hiddens.enc_output_name={output}"
        logger.warning("hiddens.enc_output_name=%s: the decoder does not read %s. If it should: %s", enc_output, output, wanted)


def check_returned(key: str, returned: Any, declared: Iterable[str], attribute: str) -> None:
    """A part returns what it says that it does."""
    if not isinstance(returned, Mapping) or set(returned) != set(declared):
        what = listed(returned) if isinstance(returned, Mapping) else f"a {type(returned).__name__}"
        wanted = f"It must return a dict of exactly its {attribute}: {listed(declared)}."
        raise HiddensError(f"{key} returned {what}. {wanted}")


def check_scalar(key: str, loss: Tensor) -> None:
    """A loss is one number."""
    if loss.dim() != 0:
        raise HiddensError(f"{key} returned a loss of shape {tuple(loss.shape)}; it must be a scalar, averaged over the batch.")


def _key(name: str, loss: BaseHiddenLoss) -> str:
    return f"hiddens.loss.{name} ({type(loss).__name__})"
