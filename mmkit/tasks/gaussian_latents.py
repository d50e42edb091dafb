"""Diagnostics of the Gaussians among the hidden transformations."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from mmkit.hiddens import HiddensPipeline
from mmkit.modules.metrics import LatentDiagnostics


MEAN, LOGVAR = "z_mean", "z_logvar"
DIAGNOSTICS = ("kl", "kl_per_position", "active_units", "active_fraction", "logvar_at_lower", "logvar_at_upper")


# Shapes: B examples, S positions, Z latent size.
class GaussianLatents(nn.Module):
    """A :class:`~mmkit.modules.metrics.LatentDiagnostics` for every transformation that makes ``z_mean`` and ``z_logvar``.

    Args:
        hiddens: The pipeline of the transformations.
        num_positions: How many positions ``enc_output`` always has; None if that varies.
    """

    def __init__(self, hiddens: HiddensPipeline, num_positions: int | None = None) -> None:
        super().__init__()
        transforms: dict[str, Any] = dict(hiddens.transforms.items())
        names = [name for name, each in transforms.items() if {MEAN, LOGVAR} <= set(each.output_names) and each.latent_size]
        self.masks = {name: hiddens.mask_name(f"{name}.{MEAN}") for name in names}
        decoded = hiddens.names.owner(hiddens.enc_output_name)
        fixed = {name: hiddens.names.fixed_positions(f"{name}.{MEAN}") for name in names}
        fixed |= {decoded: num_positions} if decoded in fixed else {}
        self.metrics = nn.ModuleDict({name: _diagnostics(transforms[name], fixed[name]) for name in names})

    def names(self) -> dict[str, str]:
        """Under what names the diagnostics are logged, with the transformation of each."""
        return {f"{name}_{key}": name for name in self._metrics() for key in DIAGNOSTICS}

    def reset(self) -> None:
        for metric in self._metrics().values():
            metric.reset()

    def update(self, hiddens: Mapping[str, Tensor]) -> None:
        """Take in a batch: every named output of the transformations; means and log-variances are (B, S, Z)."""
        for name, metric in self._metrics().items():
            mask = self.masks[name]
            metric.update(hiddens[f"{name}.{MEAN}"], hiddens[f"{name}.{LOGVAR}"], None if mask is None else hiddens[mask])

    def compute(self) -> dict[str, Tensor]:
        """The diagnostics as ``<transformation>_<diagnostic>``; none of what has seen no example."""
        computed = {name: metric.compute() for name, metric in self._metrics().items() if metric.update_called}
        return {f"{name}_{key}": value for name, values in computed.items() for key, value in values.items()}

    def _metrics(self) -> dict[str, LatentDiagnostics]:
        return dict(self.metrics.items())  # pyright: ignore[reportReturnType]


def _diagnostics(transform: Any, num_positions: int | None) -> LatentDiagnostics:
    head: Any = getattr(transform, "head", None)  # of a joint posterior there is none, nor a bound of the whole
    lower, upper = getattr(head, "min_logvar", None), getattr(head, "max_logvar", None)
    return LatentDiagnostics(transform.latent_size, num_positions, lower, upper)
