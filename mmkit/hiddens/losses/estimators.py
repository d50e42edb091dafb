"""Three ways to the expectations of log q(z|x) and log p(z) under a posterior q(z|x), with p(z) = N(0, I)."""

from collections.abc import Mapping

from torch import Tensor

from mmkit.hiddens.errors import HiddensError
from mmkit.hiddens.gaussian import entropy, kl_from_prior, prior_log_density, widened


INPUTS_OF = {
    "closed_form": ("z_mean", "z_logvar", "z_mean_mask"),
    "sampled": ("z", "z_log_prob", "z_mask"),
    "bound": ("z_kl_bound", "z_kl_bound_mask"),
}

HINTS = {
    "z_logvar": "Closed forms are those of a Gaussian posterior; for another one, e.g. a mixture, set estimator: sampled.",
    "z_log_prob": "estimator: sampled needs a transformation that gives the log density of its draw, as cond_gaussian does.",
    "z_kl_bound": "estimator: bound is for mixture_of_experts; a Gaussian posterior has estimator: closed_form.",
}


def inputs_of(estimator: str, allowed: tuple[str, ...]) -> tuple[str, ...]:
    """What an estimator reads.

    Raises:
        ValueError: It is none of those allowed.
    """
    if estimator not in allowed:
        raise HiddensError(f"Unknown estimator {estimator!r}. Allowed: {', '.join(allowed)}.")
    return INPUTS_OF[estimator]


# Shapes: B batch, S positions, Z latent dimensions.
def expected_log_densities(inputs: Mapping[str, Tensor], estimator: str) -> tuple[Tensor, Tensor]:
    """E log q(z|x) and E log p(z) of every position, (B, S) each: exact for a Gaussian, or at the one draw ``z``.

    A draw is an unbiased estimate; in eval mode a transformation may give the posterior's mean instead, which is not.
    """
    if estimator == "sampled":
        return widened(inputs["z_log_prob"]), prior_log_density(inputs["z"]).sum(-1)
    negative_entropy_BS = -entropy(inputs["z_logvar"]).sum(-1)
    return negative_entropy_BS, negative_entropy_BS - kl_from_prior(inputs["z_mean"], inputs["z_logvar"]).sum(-1)


def mask_of(inputs: Mapping[str, Tensor], estimator: str) -> Tensor:
    """The mask (B, S) among an estimator's inputs."""
    return inputs[INPUTS_OF[estimator][-1]]
