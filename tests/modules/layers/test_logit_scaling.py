import math

import pytest
import torch

from mmkit.modules.layers import LearnableLogitScaling


def test_embeddings_are_multiplied_by_the_initial_scale() -> None:
    assert torch.allclose(LearnableLogitScaling(20.0)(torch.ones(2, 3)), torch.full((2, 3), 20.0))


def test_the_gradient_reaches_the_logarithm_of_the_scale() -> None:
    scaling = LearnableLogitScaling(2.0)
    scaling(torch.tensor([3.0])).sum().backward()
    assert scaling.log_logit_scale.grad is not None
    assert math.isclose(scaling.log_logit_scale.grad.item(), 6.0, rel_tol=1e-6)  # d(s·x)/d(log s) = s·x


def test_the_scale_never_exceeds_its_maximum_and_still_has_a_gradient_there() -> None:
    scaling = LearnableLogitScaling(10.0, max_logit_scale=10.0)
    optimizer = torch.optim.SGD(scaling.parameters(), lr=1.0)
    (-scaling(torch.ones(1))).sum().backward()
    optimizer.step()
    assert scaling.eval()(torch.ones(1)).item() == pytest.approx(10.0)
    optimizer.zero_grad()
    scaling.train()(torch.ones(1)).sum().backward()
    optimizer.step()
    assert scaling(torch.ones(1)).item() < 10.0


def test_evaluation_does_not_change_the_parameter() -> None:
    scaling = LearnableLogitScaling(10.0, max_logit_scale=10.0).eval()
    with torch.no_grad():
        scaling.log_logit_scale.add_(1.0)
    before = scaling.log_logit_scale.item()
    scaling(torch.ones(1))
    assert scaling.log_logit_scale.item() == before


def test_a_fixed_scale_is_no_parameter_but_is_saved() -> None:
    scaling = LearnableLogitScaling(learnable=False)
    assert not list(scaling.parameters())
    assert set(scaling.state_dict()) == {"log_logit_scale"}


def test_modalities_have_scales_of_their_own() -> None:
    scaling = LearnableLogitScaling(2.0, modalities=["rgb", "text"])
    scaling(torch.ones(1), "text").sum().backward()
    assert scaling.log_logit_scale.grad is not None
    assert scaling.log_logit_scale.grad.tolist() == pytest.approx([0.0, 2.0])


def test_an_unknown_modality_is_named() -> None:
    scaling = LearnableLogitScaling(modalities=["rgb", "text"])
    with pytest.raises(ValueError, match=r"no logit scale for the modality 'audio'. There are: rgb, text"):
        scaling(torch.ones(1), "audio")


@pytest.mark.parametrize("init", [0.0, -1.0, 101.0])
def test_the_initial_scale_must_be_positive_and_at_most_the_maximum(init: float) -> None:
    with pytest.raises(ValueError, match=r"must lie in \(0, max_logit_scale=100.0\]"):
        LearnableLogitScaling(init)
