"""Parameter groups: which parameters weight decay applies to."""

from collections.abc import Iterable
from typing import Any

from torch import nn


def weight_decay_groups(module: nn.Module, weight_decay: float | None) -> list[dict[str, Any]]:
    """Split the trainable parameters into those that decay and those that do not.

    Vectors and scalars (biases, gains of norms, logit scales) do not decay, nor do the parameters that a submodule names
    in its ``no_weight_decay()``, as timm's models do for position embeddings.

    Args:
        module: The module whose parameters are trained.
        weight_decay: The decay that the optimizer is configured with; None or 0 gives one group.

    Returns:
        Parameter groups for ``torch.optim``; empty groups are left out.
    """
    named = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
    if not weight_decay:
        return [{"params": list(named.values())}]
    exempt = _exempt_names(module) | {name for name, parameter in named.items() if parameter.ndim < 2}
    decayed = [parameter for name, parameter in named.items() if name not in exempt]
    plain = [parameter for name, parameter in named.items() if name in exempt]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def _exempt_names(module: nn.Module) -> set[str]:
    exempt: set[str] = set()
    for prefix, child in module.named_modules():
        own_names: Iterable[str] = getattr(child, "no_weight_decay", tuple)()  # pyright: ignore[reportAssignmentType]
        exempt.update(f"{prefix}.{name}" if prefix else name for name in own_names)
    return exempt
