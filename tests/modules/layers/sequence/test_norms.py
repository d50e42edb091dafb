import pytest
import torch

from mmkit.modules.layers.sequence import final_norm, make_norm
from mmkit.modules.layers.sequence.norms import RMSNorm


def test_rmsnorm_is_its_formula() -> None:
    norm, x = RMSNorm(6, eps=1e-3).double(), torch.randn(4, 6, dtype=torch.float64)
    norm.weight.data = torch.randn(6, dtype=torch.float64)
    torch.testing.assert_close(norm(x), x / (x.square().mean(-1, keepdim=True) + 1e-3).sqrt() * norm.weight)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rmsnorm_keeps_the_precision_of_its_input_under_autocast(dtype: torch.dtype) -> None:
    norm, x = RMSNorm(6, eps=1e-5), torch.randn(4, 6).to(dtype)
    with torch.autocast("cpu", torch.bfloat16):
        y = norm(x)
    assert y.dtype == dtype
    expected = x.double() / (x.double().square().mean(-1, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(y.double(), expected, rtol=1e-2 if dtype == torch.bfloat16 else 1e-5, atol=1e-6)


def test_layernorm_is_its_formula() -> None:
    x = torch.randn(4, 6, dtype=torch.float64)
    centred = x - x.mean(-1, keepdim=True)
    expected = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(make_norm("layernorm", 6).double()(x), expected)


@pytest.mark.parametrize(("norm_position", "is_normed"), [("pre", True), ("normformer", True), ("post", False)])
def test_only_post_norm_blocks_need_no_last_norm(norm_position: str, is_normed: bool) -> None:
    x = torch.randn(3, 5)
    assert torch.equal(final_norm("layernorm", norm_position, 5)(x), make_norm("layernorm", 5)(x) if is_normed else x)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Unknown normalization 'batch'\. Allowed: layernorm, rmsnorm"):
        make_norm("batch", 2)
    with pytest.raises(ValueError, match=r"Unknown norm_position 'sandwich'\. Allowed: pre, post, normformer"):
        final_norm("layernorm", "sandwich", 2)
