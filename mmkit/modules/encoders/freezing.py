"""Freezing parts of an encoder for good."""

from collections.abc import Iterable, Iterator

from torch import nn


def num_frozen_layers(freeze: bool | int | float, num_layers: int, encoder: nn.Module) -> int:
    """How many of ``num_layers`` layers an argument ``freeze`` means.

    Args:
        freeze: True for all, a whole number of layers, or a fraction of them (rounded, at least one unless it is zero).
        num_layers: Number of layers that there are.
        encoder: Named in the error.

    Raises:
        ValueError: There are not that many layers.

    Example:
        >>> [num_frozen_layers(freeze, 12, nn.Identity()) for freeze in (True, 1, 1.0, 0.25, False)]
        [12, 1, 12, 3, 0]
    """
    limit = 1.0 if isinstance(freeze, float) else num_layers
    if not isinstance(freeze, bool) and not 0 <= freeze <= limit:
        raise ValueError(
            f"freeze={freeze!r}, but {type(encoder).__name__} has {num_layers} layers. Allowed: false, true (all of it), a "
            f"number of layers from 0 to {num_layers}, or a fraction of them from 0.0 to 1.0."
        )
    if isinstance(freeze, float):
        return max(round(freeze * num_layers), int(freeze > 0))
    return num_layers if freeze is True else int(freeze)


def transformer_layers(model: nn.Module) -> nn.ModuleList:
    """The list of blocks of a transformer: of all its module lists the one with the most parameters."""
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    return max(lists, key=lambda layers: sum(parameter.numel() for parameter in layers.parameters()))


def first_parameters(model: nn.Module, num_layers: int) -> list[nn.Parameter]:
    """Parameters of the first layers of a transformer and of everything before them.

    Args:
        model: The transformer.
        num_layers: Number of layers; ``0`` gives nothing, all of them give the final norm and whatever else there is too.
    """
    layers = transformer_layers(model)
    if num_layers == len(layers):
        return list(model.parameters())
    if num_layers == 0:
        return []
    in_layers = set(layers.parameters())
    chosen = [parameter for layer in layers[:num_layers] for parameter in layer.parameters()]  # pyright: ignore[reportGeneralTypeIssues]
    is_before = True
    for name, parameter in model.named_parameters():
        is_before = is_before and parameter not in in_layers
        # BART and DeBERTa define embeddings and their norm behind the layers
        if parameter not in in_layers and (is_before or "emb" in name):
            chosen.append(parameter)
    return chosen


def _frozen_modules(module: nn.Module, frozen: set[nn.Parameter]) -> Iterator[nn.Module]:
    """The largest modules inside without a trainable parameter, and those without any (dropout) that stand before them."""
    waiting = []
    for child in module.children():
        parameters = set(child.parameters())
        if not parameters:
            waiting.append(child)
            continue
        if parameters <= frozen:
            yield from (*waiting, child)
        elif parameters & frozen:
            yield from (*waiting, *_frozen_modules(child, frozen))
        waiting = []


def _is_layer_norm(module: nn.Module) -> bool:
    return any(name in type(module).__name__ for name in ("LayerNorm", "RMSNorm"))


class FreezableEncoder(nn.Module):
    """An encoder whose frozen modules stay in evaluation mode.

    Otherwise batch norm would go on to change its statistics, and dropout to disturb features that are meant to be fixed.
    """

    def __init__(self) -> None:
        super().__init__()
        self._frozen: list[nn.Module] = []

    def freeze_parameters(self, parameters: Iterable[nn.Parameter], freeze_layer_norm: bool = True) -> None:
        """Stop training parameters, and keep modules that have no others in evaluation mode.

        Args:
            parameters: Parameters of this module.
            freeze_layer_norm: Whether layer norms among them are frozen too.
        """
        frozen = set(parameters)
        self._frozen = list(_frozen_modules(self, frozen))
        for module in self.modules():
            for parameter in module.parameters(recurse=False):
                if parameter in frozen:
                    parameter.requires_grad_(not freeze_layer_norm and _is_layer_norm(module))
        self.train(self.training)

    def train(self, mode: bool = True) -> "FreezableEncoder":
        super().train(mode)
        for module in self._frozen:
            module.eval()
        return self
