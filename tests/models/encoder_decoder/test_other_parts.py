"""Encoders and decoders of other families in the model: Mega, GPT-2."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from mmkit.models import EncoderDecoder, HFModel, MegaEncoder, MegaWithHead
from mmkit.models.encoder_decoder import shift_right
from mmkit.modules.encoders import VisionTransformer
from mmkit.modules.encoders.sequence_encoder import SequenceEncoder


pytest.importorskip("transformers")

# Shapes: B rows, T tokens.

MEGA = {
    "vocab_size": 9, "hidden_size": 16, "num_hidden_layers": 2, "intermediate_size": 16, "nffn_hidden_size": 16,
    "ema_projection_size": 2, "shared_representation_size": 8,
}  # fmt: skip
SPECIAL = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
LABELS = torch.tensor([[3, 4, 5, 2], [6, 2, -100, -100], [2, -100, -100, -100]])


def mega(**options) -> nn.Module:
    causal = {"bidirectional": False, "is_decoder": True, "add_cross_attention": True}
    return MegaWithHead("causal_lm", **(MEGA | SPECIAL | causal | options))


def gpt2() -> nn.Module:
    size = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 16, "vocab_size": 9}
    return HFModel("causal_lm", config={"model_type": "gpt2", "add_cross_attention": True, **size, **SPECIAL})


DECODERS: dict[str, Callable[[], nn.Module]] = {
    "mega": mega,
    "mega in chunks": lambda: mega(use_chunking=True, chunk_size=4),
    "gpt2": gpt2,
}


def model(decoder: nn.Module, **options) -> EncoderDecoder:
    encoder = options or {"encoder": SequenceEncoder(9, 16, 1)}
    return EncoderDecoder(decoder, **encoder, bos_id=1, eos_id=2, pad_id=0).eval()


@pytest.fixture(params=DECODERS.values(), ids=DECODERS)
def other(request) -> EncoderDecoder:
    torch.manual_seed(0)
    one = model(request.param())
    for weight in one.decoder.parameters():
        if weight.ndim == 2:
            nn.init.normal_(weight, std=0.4)
    return one


def memories():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(3, 4, 16, generator=generator), torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]])


def test_the_likelihood_is_that_of_each_text_alone(other):
    memory, mask = memories()
    found = other.log_likelihood(memory, shift_right(LABELS, 1, 0), LABELS, mask_NS=mask)
    for row, labels in enumerate(LABELS):
        labels = labels[labels >= 0]
        ids = torch.cat([torch.tensor([1]), labels[:-1]])[None]
        seen = mask[row].bool()
        logits = other.decoder.model(input_ids=ids, encoder_hidden_states=memory[row : row + 1, seen], use_cache=False).logits
        expected = logits[0].log_softmax(-1).gather(1, labels[:, None]).sum()
        torch.testing.assert_close(found[row], expected, rtol=1e-4, atol=1e-4)


def test_greedy_equals_running_the_whole_text_for_every_token(other):
    memory, mask = memories()
    ids_BT = other.generate(memory, mask, max_length=8)
    text = torch.ones(3, 1, dtype=torch.long)
    with torch.no_grad():
        for step in range(ids_BT.shape[1]):
            logits = other.decode_logits(text, (memory, mask), torch.ones_like(text))[:, -1]
            ended = (text == 2).any(1)
            assert ids_BT[:, step].tolist() == torch.where(ended, 0, logits.argmax(-1)).tolist()
            text = torch.cat([text, ids_BT[:, step : step + 1]], dim=1)


@pytest.mark.parametrize("settings", [{"method": "sample", "seed": 4}, {"method": "beam", "num_beams": 3}], ids=str)
def test_the_cache_and_its_reordering_change_nothing(other, without_cache, settings):
    memory, mask = memories()
    ids_BT = other.generate(memory, mask, max_length=8, **settings)
    other.decoder = without_cache(other.decoder)
    assert torch.equal(other.generate(memory, mask, max_length=8, **settings), ids_BT)


@pytest.mark.parametrize(
    ("encoder", "inputs"),
    [
        (lambda: MegaEncoder(**MEGA, pooling="none"), {"text": torch.tensor([[1, 5, 2], [1, 2, 0]])}),
        (lambda: VisionTransformer(8, 4, width=16, depth=1, num_heads=2, pooling="none"), {"rgb": torch.ones(2, 3, 8, 8)}),
        (lambda: SequenceEncoder(9, 16, 1, arch="perceiver", hidden_steps=3), {"text": torch.tensor([[1, 5, 2], [1, 2, 0]])}),
        (lambda: SequenceEncoder(None, 16, 1, input_size=5, modality="audio"), {"audio": torch.ones(2, 7, 5)}),
    ],
    ids=["mega", "images", "perceiver", "features"],
)
def test_any_encoder_can_feed_mega(encoder, inputs):
    one = model(mega(), encoder=encoder())
    outputs = one.encode(inputs)
    assert outputs["enc_output"].shape[::2] == (2, 16)
    loss = -one.log_likelihood(outputs["enc_output"], shift_right(LABELS[:2], 1, 0), LABELS[:2]).sum()
    loss.backward()
    without_gradient = [name for name, weight in one.named_parameters() if weight.grad is None]
    assert without_gradient == []
    assert one.generate(outputs["enc_output"], max_length=4).shape[0] == 2
