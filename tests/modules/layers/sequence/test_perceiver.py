import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mmkit.modules.layers.sequence import Perceiver
from mmkit.tasks.parameter_groups import weight_decay_groups


# Shapes: B batch, L positions of the memory, M its width, S hidden positions, D width.

SIZE = {"dim": 8, "num_heads": 2, "hidden_steps": 3, "memory_dim": 6}


def made(**options: object) -> Perceiver:
    torch.manual_seed(0)
    return Perceiver(**{**SIZE, **options}).double().eval()  # pyright: ignore[reportArgumentType]


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("num_self", [0, 1, 2])
def test_every_layer_is_a_cross_attention_and_then_self_attentions(num_self: int) -> None:
    perceiver, memory = made(num_layers=2, num_self_attention_per_cross_attention=num_self), random(2, 4, 6)
    blocks, x = list(perceiver.blocks), perceiver.latents.expand(2, -1, -1)
    for _ in range(2):
        reader = blocks.pop(0)
        x = reader.feed_forward(reader.cross_attention(x, None, perceiver.memory_norm(memory)))  # pyright: ignore
        for _ in range(num_self):
            block = blocks.pop(0)
            x = block.feed_forward(block.self_attention(x))  # pyright: ignore
    assert not blocks
    torch.testing.assert_close(perceiver(memory), perceiver.norm(x))


@settings(max_examples=25)
@given(length=st.integers(1, 5), front=st.integers(0, 3), behind=st.integers(0, 3), seed=st.integers(0, 99))
def test_padding_never_changes_the_hidden_positions(length: int, front: int, behind: int, seed: int) -> None:
    perceiver, memory = made(), random(2, length, 6, seed=seed)
    padded = torch.cat([random(2, front, 6, seed=seed + 1), memory, random(2, behind, 6, seed=seed + 2)], dim=1)
    mask = torch.zeros(2, padded.shape[1])
    mask[:, front : front + length] = 1
    torch.testing.assert_close(perceiver(padded, mask), perceiver(memory))


def test_the_sequence_is_read_as_a_set() -> None:
    perceiver, memory = made(num_layers=2), random(2, 5, 6)
    torch.testing.assert_close(perceiver(memory[:, [3, 1, 4, 0, 2]]), perceiver(memory))
    assert not torch.allclose(perceiver(memory[:, :4]), perceiver(memory))


def test_a_row_of_padding_gives_what_no_sequence_could_change_and_finite_gradients() -> None:
    perceiver, mask = made(), torch.tensor([[0, 0, 0, 0], [1, 1, 0, 0]])
    memory = random(2, 4, 6).requires_grad_()
    hidden = perceiver(memory, mask)
    hidden.square().sum().backward()
    torch.testing.assert_close(hidden[0], perceiver(random(2, 4, 6, seed=1), mask)[0])
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in perceiver.parameters())
    assert memory.grad is not None
    assert memory.grad.isfinite().all()


def test_checkpointing_changes_no_value_and_no_gradient() -> None:
    plain, memory = made(dropout=0.3, num_layers=2).train(), random(2, 4, 6)
    sparing = copy.deepcopy(plain)
    sparing.gradient_checkpointing = True
    outputs = []
    for perceiver in (plain, sparing):
        torch.manual_seed(1)
        outputs.append(perceiver(memory))
        outputs[-1].square().sum().backward()
    torch.testing.assert_close(*outputs)
    for one, other in zip(plain.parameters(), sparing.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_latents_are_drawn_as_in_the_paper_and_not_decayed() -> None:
    perceiver = Perceiver(64, 4, hidden_steps=200)
    assert perceiver.latents.std().item() == pytest.approx(0.02 * 0.88, rel=0.03)  # cut at two deviations
    assert perceiver.latents.abs().max() <= 0.04
    decayed, plain = weight_decay_groups(perceiver, 0.1)
    assert any(parameter is perceiver.latents for parameter in plain["params"])
    assert not any(parameter is perceiver.latents for parameter in decayed["params"])


@pytest.mark.parametrize(
    "options", [{"hidden_steps": 0}, {"num_layers": 0}, {"num_self_attention_per_cross_attention": -1}], ids=str
)
def test_impossible_numbers_are_refused(options: dict) -> None:
    ((name, value),) = options.items()
    with pytest.raises(ValueError, match=f"{name}={value}"):
        made(**options)
