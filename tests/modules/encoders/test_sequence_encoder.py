import copy

import pytest
import torch
from hydra_zen import instantiate
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from mmkit.conf import external_store
from mmkit.modules.encoders import SequenceEncoder
from mmkit.tasks.parameter_groups import weight_decay_groups


# Shapes: B batch, L positions of the input, S positions of the output, H hidden_size.

SIZE = {"vocab_size": 11, "hidden_size": 8, "num_layers": 2, "num_attention_heads": 2, "hidden_steps": 3, "max_positions": 12}
KINDS = [*[("transformer", position) for position in ("learned", "rotary", "alibi", "none")], ("perceiver", "learned")]
KIND_IDS = ["-".join(kind) for kind in KINDS]


def made(**options: object) -> SequenceEncoder:
    torch.manual_seed(0)
    encoder = SequenceEncoder(**{**SIZE, **options}).double().eval()  # pyright: ignore[reportArgumentType]
    for parameter in encoder.parameters():  # large, so that every part of the model shows
        nn.init.normal_(parameter, std=0.5)
    return encoder


def encode(encoder: SequenceEncoder, ids_BL: Tensor, mask_BL: Tensor | None = None) -> Tensor:
    inputs = {"text": ids_BL} if mask_BL is None else {"text": ids_BL, "text_attention_mask": mask_BL}
    (x_BSH,) = encoder(inputs)
    return x_BSH


def ids(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 11, shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("norm_position", ["pre", "post", "normformer"])
@pytest.mark.parametrize(("arch", "position"), KINDS, ids=KIND_IDS)
@settings(max_examples=15)
@given(length=st.integers(1, 5), front=st.integers(0, 3), behind=st.integers(0, 3), seed=st.integers(0, 99))
def test_padding_never_changes_a_real_position(
    arch: str, position: str, norm_position: str, length: int, front: int, behind: int, seed: int
) -> None:
    encoder = made(arch=arch, position_embedding=position, norm_position=norm_position)
    text = ids(2, length, seed=seed)
    padded = torch.cat([ids(2, front, seed=seed + 1), text, ids(2, behind, seed=seed + 2)], dim=1)
    mask = torch.zeros_like(padded)
    mask[:, front : front + length] = 1
    given_BSH = encode(encoder, padded, mask)
    real_BSH = given_BSH if arch == "perceiver" else given_BSH[:, front : front + length]
    torch.testing.assert_close(real_BSH, encode(encoder, text))


@pytest.mark.parametrize("norm_position", ["pre", "post"])
def test_a_transformer_is_torchs(norm_position: str) -> None:
    encoder = made(norm_position=norm_position, ffn_hidden_size=16, position_embedding="none")
    layer = nn.TransformerEncoderLayer(8, 2, 16, 0.0, "gelu", batch_first=True, norm_first=norm_position == "pre")
    last_norm = encoder.layers.norm if norm_position == "pre" else None
    reference = nn.TransformerEncoder(layer, 2, last_norm, enable_nested_tensor=False)
    names = {
        "self_attn.in_proj_": "self_attention.layer.qkv.", "self_attn.out_proj.": "self_attention.layer.output.",
        "linear1.": "feed_forward.layer.input.", "linear2.": "feed_forward.layer.output.",
        "norm1.": "self_attention.norm.", "norm2.": "feed_forward.norm.",
    }  # fmt: skip
    for block, torch_layer in zip(encoder.layers.blocks, reference.double().layers, strict=True):
        own = block.state_dict()
        theirs = [prefix + kind for prefix in names for kind in ("weight", "bias")]
        ours = [prefix + kind for prefix in names.values() for kind in ("weight", "bias")]
        torch_layer.load_state_dict({name: own[our] for name, our in zip(theirs, ours, strict=True)})
    text, mask = ids(2, 5), torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]).bool()
    expected = reference(encoder.embedding(text), src_key_padding_mask=~mask)
    torch.testing.assert_close(encode(encoder, text, mask)[mask], expected[mask])


@pytest.mark.parametrize(("arch", "position"), KINDS[:3] + KINDS[4:], ids=KIND_IDS[:3] + KIND_IDS[4:])
def test_the_same_tokens_in_another_order_differ(arch: str, position: str) -> None:
    encoder = made(arch=arch, position_embedding=position)
    first, second = (encode(encoder, torch.tensor([text])).mean(1) for text in ([1, 2, 3, 4, 5], [2, 1, 3, 4, 5]))
    assert not torch.allclose(first, second)


def test_without_positions_the_input_is_a_set() -> None:
    encoder, order, text = made(position_embedding="none"), torch.tensor([3, 1, 0, 2]), ids(2, 4)
    torch.testing.assert_close(encode(encoder, text)[:, order], encode(encoder, text[:, order]))


def test_alibi_alone_mirrors_the_output_of_a_mirrored_text_and_rotary_does_not() -> None:
    text = ids(2, 5)
    alibi, rotary = made(position_embedding="alibi"), made(position_embedding="rotary")
    torch.testing.assert_close(encode(alibi, text.flip(1)), encode(alibi, text).flip(1))
    assert not torch.allclose(encode(rotary, text.flip(1)), encode(rotary, text).flip(1))


@pytest.mark.parametrize(("arch", "position"), KINDS, ids=KIND_IDS)
def test_a_row_of_padding_gives_finite_values_and_gradients(arch: str, position: str) -> None:
    encoder = made(arch=arch, position_embedding=position)
    x = encode(encoder, ids(2, 4), torch.tensor([[0, 0, 0, 0], [1, 1, 0, 0]]))
    x.square().sum().backward()
    assert x.isfinite().all()
    gradients = [parameter.grad for parameter in encoder.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize(("arch", "shape"), [("transformer", (2, 4, 8)), ("perceiver", (2, 3, 8))])
def test_every_parameter_gets_a_gradient(arch: str, shape: tuple) -> None:
    encoder = made(arch=arch)
    x = encode(encoder, torch.arange(8).view(2, 4))
    assert x.shape == shape
    x.square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in encoder.parameters())


def test_features_are_read_in_place_of_ids() -> None:
    encoder, features = made(vocab_size=None, input_size=5, modality="rgb"), torch.randn(2, 4, 5).double()
    (x,) = encoder({"rgb": features})
    first = encoder.dropout(encoder.positions(features @ encoder.embedding.weight.T + encoder.embedding.bias))  # pyright: ignore
    torch.testing.assert_close(x, encoder.layers(first))


def test_output_mask_says_which_positions_are_real() -> None:
    mask, inputs = torch.tensor([[1, 1, 0], [0, 1, 1]]), {"text": ids(2, 3)}
    transformer, perceiver = made(), made(arch="perceiver", hidden_steps=2)
    assert torch.equal(transformer.output_mask({**inputs, "text_attention_mask": mask}), mask.bool())
    assert torch.equal(transformer.output_mask(inputs), torch.ones(2, 3, dtype=torch.bool))
    assert torch.equal(perceiver.output_mask({**inputs, "text_attention_mask": mask}), torch.ones(2, 2, dtype=torch.bool))


@pytest.mark.parametrize("arch", ["transformer", "perceiver"])
@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
def test_pooling_gives_one_vector_of_real_positions(arch: str, pooling: str) -> None:
    mask, text = torch.tensor([[1, 1, 0], [1, 1, 1]]), ids(2, 3)
    inputs = {"text": text, "text_attention_mask": mask}
    pooled, x_BSH = made(arch=arch, pooling=pooling)(inputs)[0], made(arch=arch)(inputs)[0]
    for vector, x_SH, real in zip(pooled, x_BSH, made(arch=arch).output_mask(inputs), strict=True):
        rows = x_SH[real]
        torch.testing.assert_close(vector, {"mean": rows.mean(0), "cls": rows[0], "last": rows[-1]}[pooling])
    assert torch.equal(made(arch=arch, pooling=pooling).output_mask(inputs), torch.ones(2, 1, dtype=torch.bool))


def test_the_number_of_output_positions_is_known_where_no_input_changes_it() -> None:
    kinds = [made(), made(arch="perceiver", hidden_steps=5), made(arch="perceiver", pooling="mean"), made(pooling="last")]
    assert [encoder.num_positions for encoder in kinds] == [None, 5, 1, 1]


@pytest.mark.parametrize("arch", ["transformer", "perceiver"])
def test_initializer_range_is_the_deviation_of_everything_that_is_drawn(arch: str) -> None:
    torch.manual_seed(0)
    size = {"vocab_size": 300, "hidden_size": 64, "num_layers": 2, "hidden_steps": 50}
    encoder = SequenceEncoder(**size, arch=arch, initializer_range=0.125)
    num_branches = {"transformer": 4, "perceiver": 8}[arch]
    for name, parameter in encoder.named_parameters():
        if parameter.ndim == 2:
            factor = (
                num_branches**-0.5 if "output" in name else 0.88 if "latents" in name else 1
            )  # latents: cut at two deviations
            assert parameter.std().item() == pytest.approx(0.125 * factor, rel=0.05), name


def test_pad_id_stands_in_for_a_mask_that_is_absent() -> None:
    encoder, text, mask = made(pad_id=0), torch.tensor([[1, 2, 0, 0], [3, 4, 5, 6]]), torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1]])
    assert torch.equal(encode(encoder, text), encode(encoder, text, mask))
    assert torch.equal(encoder.output_mask({"text": text}), mask.bool())
    assert not torch.allclose(encode(made(), text), encode(encoder, text, mask))


def test_depth_zero_is_the_normed_embedding() -> None:
    encoder, text = made(num_layers=0), ids(2, 3)
    expected = encoder.layers.norm(encoder.embedding(text) + encoder.positions.weight[:3])  # pyright: ignore
    torch.testing.assert_close(encode(encoder, text), expected)


@pytest.mark.parametrize("activation", ["gelu", "geglu", "swiglu"])
@pytest.mark.parametrize("normalization", ["layernorm", "rmsnorm"])
@pytest.mark.parametrize("norm_position", ["pre", "post", "normformer"])
@pytest.mark.parametrize(("arch", "position"), KINDS, ids=KIND_IDS)
def test_half_precision_is_close_to_single(
    arch: str, position: str, norm_position: str, normalization: str, activation: str
) -> None:
    torch.manual_seed(0)
    options = {"norm_position": norm_position, "normalization": normalization, "activation": activation}
    encoder = SequenceEncoder(**SIZE, arch=arch, position_embedding=position, **options).eval()
    text, mask = ids(2, 4), torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]])
    with torch.autocast("cpu", torch.bfloat16):
        half = encode(encoder, text, mask)
    torch.testing.assert_close(half, encode(encoder, text, mask), rtol=0, atol=0.1)  # normed: of size 1


def test_checkpointing_changes_no_value_and_no_gradient() -> None:
    plain = made(dropout=0.3).train()
    sparing = copy.deepcopy(plain)
    sparing.layers.gradient_checkpointing = True
    outputs = []
    for encoder in (plain, sparing):
        torch.manual_seed(1)
        outputs.append(encode(encoder, ids(2, 4), torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]])))
        outputs[-1].square().sum().backward()
    torch.testing.assert_close(*outputs)
    for one, other in zip(plain.parameters(), sparing.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


@pytest.mark.parametrize("arch", ["transformer", "perceiver"])
def test_checkpointing_keeps_less_for_the_way_back(arch: str) -> None:
    kept = {}
    for checkpointing in (False, True):
        encoder, sizes = made(arch=arch, gradient_checkpointing=checkpointing).train(), []
        with torch.autograd.graph.saved_tensors_hooks(lambda x, sizes=sizes: sizes.append(x.numel()) or x, lambda x: x):
            encode(encoder, ids(2, 8))
        kept[checkpointing] = sum(sizes)
    assert kept[True] < kept[False] / 2


@pytest.mark.parametrize(("arch", "position"), [("transformer", "alibi"), ("perceiver", "learned")])
def test_a_compiled_encoder_gives_the_same(arch: str, position: str) -> None:
    encoder, text, mask = made(arch=arch, position_embedding=position), ids(2, 4), torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]])
    compiled = torch.compile(encoder, backend="eager", fullgraph=True)
    torch.testing.assert_close(encode(compiled, text, mask), encode(encoder, text, mask))  # pyright: ignore


@pytest.mark.parametrize(("arch", "position"), KINDS, ids=KIND_IDS)
def test_on_the_meta_device_shapes_are_the_same(arch: str, position: str) -> None:
    with torch.device("meta"):
        encoder = SequenceEncoder(**SIZE, arch=arch, position_embedding=position)
    x = encode(encoder, ids(2, 4).to("meta"), torch.ones(2, 4, device="meta"))
    assert x.device.type == "meta"
    assert x.shape == encode(made(arch=arch, position_embedding=position), ids(2, 4)).shape


def test_a_state_dict_restores_the_encoder() -> None:
    encoder, other = made(arch="perceiver"), SequenceEncoder(**SIZE, arch="perceiver").double().eval()
    other.load_state_dict(encoder.state_dict())
    assert torch.equal(encode(other, ids(2, 4)), encode(encoder, ids(2, 4)))


def test_positions_and_latents_are_not_decayed() -> None:
    encoder = SequenceEncoder(**SIZE, arch="perceiver")
    decayed, plain = weight_decay_groups(encoder, 0.1)
    names = {id(parameter): name for name, parameter in encoder.named_parameters()}
    matrices = {names[id(parameter)] for parameter in plain["params"] if parameter.ndim > 1}
    assert matrices == {"positions.weight", "layers.latents"}
    assert all(parameter.ndim > 1 for parameter in decayed["params"])


# BERT-base without its token types has 12 blocks of 7,087,872 parameters and positions and a norm.
@pytest.mark.parametrize(
    ("name", "num_parameters"),
    [
        ("sequence_base", 100 * 768 + 512 * 768 + 2 * 768 + 12 * (12 * 768**2 + 13 * 768)),
        ("sequence_small", 100 * 384 + 512 * 384 + 2 * 384 + 6 * (12 * 384**2 + 13 * 384)),
        ("perceiver_small", 100 * 384 + 520 * 384 + 4 * 384 + 12 * (12 * 384**2 + 13 * 384)),
    ],
)
def test_presets_need_only_a_vocabulary(name: str, num_parameters: int) -> None:
    with torch.device("meta"):
        encoder = instantiate(external_store["modules/encoders", name], vocab_size=100)
    assert sum(parameter.numel() for parameter in encoder.parameters()) == num_parameters


def test_input_spec_is_an_example() -> None:
    spec = SequenceEncoder(**SIZE).input_spec()["text"]
    assert (spec.shape, spec.dtype, spec.device.type) == ((12,), torch.long, "meta")
    features = SequenceEncoder(**{**SIZE, "vocab_size": None}, input_size=5, modality="rgb").input_spec()["rgb"]
    assert (features.shape, features.dtype) == ((12, 5), torch.float32)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"arch": "rnn"}, "Unknown arch 'rnn'. Allowed: transformer, perceiver"),
        ({"position_embedding": "sine"}, "Unknown position_embedding 'sine'. Allowed: learned, rotary, alibi, none"),
        ({"arch": "perceiver", "position_embedding": "rotary"}, "perceiver cannot tell the order.*Use 'learned'"),
        ({"vocab_size": None}, "either vocab_size=None.*input_size=None"),
        ({"input_size": 4}, "either vocab_size=11.*input_size=4"),
        ({"hidden_size": 9}, "num_heads=2 must divide the width 9"),
        ({"norm_position": "both"}, "Unknown norm_position 'both'"),
        ({"pooling": "eos"}, "Unknown pooling 'eos'. Allowed: cls, mean, last, none"),
    ],
)
def test_what_cannot_work_is_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SequenceEncoder(**{**SIZE, **options})


def test_a_text_that_is_too_long_is_refused_with_learned_positions_alone() -> None:
    with pytest.raises(ValueError, match="13 positions is longer than max_positions=12"):
        encode(made(), ids(1, 13))
    assert encode(made(position_embedding="rotary"), ids(1, 13)).shape == (1, 13, 8)
