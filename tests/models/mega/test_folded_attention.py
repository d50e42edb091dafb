"""Softmax attention by fused kernels, against loops over positions."""

import pytest
import torch

from mmkit.models.mega.folded_attention import attend_folded
from mmkit.models.mega.relative_bias import RotaryRelativePositionalBias
from tests.models.mega.naive_attention import naive_attend
from tests.models.mega.test_attend import EMPTY, HOLES, LEFT, RIGHT, inputs, make_bias


@pytest.mark.parametrize("masked", [False, True], ids=["all", "masked"])
@pytest.mark.parametrize(("causal", "offset"), [(False, 0), (True, 0), (False, 3)])
def test_folded_attention_is_that_of_a_loop(causal: bool, offset: int, masked: bool) -> None:
    bias, (q, k, v) = make_bias("rotary"), inputs(4, 6, 6)
    assert isinstance(bias, RotaryRelativePositionalBias)
    mask = torch.tensor([RIGHT, LEFT, HOLES, EMPTY], dtype=torch.bool) if masked else None
    y = attend_folded(q / 2, k, v, bias, causal=causal, mask_BS=mask, offset=offset, dropout_p=0.0)
    values = bias.by_distance(-20, 20)
    expected, _ = naive_attend(q, k, v, values, "softmax", causal=causal, mask=mask, offset=[offset] * 4)
    torch.testing.assert_close(y, expected)


@pytest.mark.parametrize("masked", [False, True], ids=["all", "masked"])
def test_gradients_are_right(masked: bool) -> None:
    torch.manual_seed(0)
    bias, (q, k, v) = make_bias("rotary"), inputs(4, 6, 6)
    assert isinstance(bias, RotaryRelativePositionalBias)
    mask = torch.tensor([RIGHT, LEFT, HOLES, EMPTY], dtype=torch.bool) if masked else None

    def function(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        return attend_folded(q, k, v, bias, causal=True, mask_BS=mask, offset=0, dropout_p=0.0)

    # The parameters are passed for their gradients alone: gradcheck moves them in place.
    assert torch.autograd.gradcheck(function, (q, k, v, *bias.parameters()))
