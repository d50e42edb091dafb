"""Hidden transformations and losses so simple that the tests can compute what comes of them."""

import torch

from mmkit.hiddens import BaseHiddenLoss, BaseHiddenTransform


class Scale(BaseHiddenTransform):
    """Makes ``z``, the hidden states times a factor, and ``size``, their squared norm per position."""

    output_names = ("z", "size")

    def __init__(self, factor: float = 1.0, inputs: dict[str, str] | None = None):
        super().__init__(inputs)
        self.factor = factor

    def forward(self, inputs, batch_data=None):
        z = self.factor * inputs["hiddens"]
        return {"z": z, "size": z.square().sum(-1)}


class Pool(BaseHiddenTransform):
    """Makes ``pooled``: one position that is the sum of the real ones."""

    input_names = ("hiddens", "hiddens_mask")
    output_names = ("pooled",)
    positions_from = None
    num_positions = 1

    def forward(self, inputs, batch_data=None):
        return {"pooled": (inputs["hiddens"] * inputs["hiddens_mask"].unsqueeze(-1)).sum(1, keepdim=True)}


class Length(BaseHiddenLoss):
    """The mean over the batch of how many positions are real, and as another term the mean of ``z``."""

    input_names = ("z", "z_mask")
    term_names = ("loss", "mean")

    def forward(self, inputs, batch_data=None):
        return {"loss": inputs["z_mask"].sum(1).float().mean(), "mean": inputs["z"].mean()}


def given(num_positions: int = 3, real: int = 2) -> dict[str, torch.Tensor]:
    """What an encoder gives: two examples, of which the first has ``real`` real positions."""
    mask = torch.ones(2, num_positions, dtype=torch.long)
    mask[0, real:] = 0
    return {"hiddens": torch.arange(2.0 * num_positions * 2).reshape(2, num_positions, 2), "hiddens_mask": mask}
