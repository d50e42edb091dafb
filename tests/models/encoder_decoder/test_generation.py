"""Generation against naive loops, enumeration of all texts, and transformers."""

import itertools

import pytest
import torch
from torch import Tensor, nn

from mmkit.models.encoder_decoder.generation import beam_search, generate, row_seeds
from mmkit.models.encoder_decoder.generation.random_numbers import uniform
from mmkit.models.encoder_decoder.generation.sampling import drawn, keep_top_k, keep_top_p
from mmkit.models.encoder_decoder.generation.steps import DecoderSteps


# Shapes: B rows, S memory positions, Z their size, T tokens, V vocabulary.

BOS, EOS, PAD = 1, 2, 0
IDS = {"bos_id": BOS, "eos_id": EOS, "pad_id": PAD}


def memories(batch: int = 5, size: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    memory_BSZ = 2 * torch.randn(batch, 4, size, generator=generator)
    return memory_BSZ, torch.arange(4) < torch.tensor([4, 2, 3])[torch.arange(batch) % 3].unsqueeze(1)


def next_log_p(decoder: nn.Module, prefix: list[int], memory_SZ: Tensor, mask_S: Tensor) -> Tensor:
    """log p (V,) of the next token, by running the whole prefix without a cache."""
    with torch.no_grad():
        ids = torch.tensor([[BOS, *prefix]])
        output = decoder(input_ids=ids, encoder_hidden_states=memory_SZ[None], encoder_attention_mask=mask_S[None])
    return output.logits[0, -1].log_softmax(-1)


def texts_of(ids_BT: Tensor) -> list[list[int]]:
    """Rows up to their end; behind it must be padding only."""
    rows = []
    for row in ids_BT.tolist():
        length = row.index(EOS) + 1 if EOS in row else len(row)
        assert set(row[length:]) <= {PAD}
        rows.append(row[:length])
    return rows


@pytest.mark.parametrize("position_embedding", ["learned", "rotary", "alibi"])
def test_greedy_takes_the_most_probable_token_of_the_whole_text_each_time(make_decoder, position_embedding):
    decoder, (memory_BSZ, mask_BS) = make_decoder(position_embedding=position_embedding), memories()
    ids_BT = generate(decoder, memory_BSZ, mask_BS, max_length=9, **IDS)
    expected = []
    for memory_SZ, mask_S in zip(memory_BSZ, mask_BS, strict=True):
        text: list[int] = []
        while len(text) < 9 and EOS not in text:
            text.append(int(next_log_p(decoder, text, memory_SZ, mask_S).argmax()))
        expected.append(text)
    assert texts_of(ids_BT) == expected
    assert len({len(text) for text in expected}) > 1  # rows end at different times
    assert ids_BT.shape[1] == max(map(len, expected))


@pytest.mark.parametrize("settings", [{}, {"method": "sample", "seed": 5}, {"method": "beam"}], ids=str)
def test_a_decoder_without_a_cache_generates_the_same(make_decoder, without_cache, settings):
    decoder, (memory_BSZ, mask_BS) = make_decoder(), memories()
    ids_BT = generate(decoder, memory_BSZ, mask_BS, max_length=8, **IDS, **settings)
    assert torch.equal(generate(without_cache(decoder), memory_BSZ, mask_BS, max_length=8, **IDS, **settings), ids_BT)


def log_p_of(decoder: nn.Module, texts: list[list[int]], memory_SZ: Tensor, mask_S: Tensor) -> list[float]:
    """log p of each text, by running it whole without a cache."""
    length = max(map(len, texts))
    padded = torch.tensor([text + [PAD] * (length - len(text)) for text in texts])
    ids = torch.cat([torch.full((len(texts), 1), BOS), padded[:, :-1]], dim=1)
    memory = {
        "encoder_hidden_states": memory_SZ.expand(len(texts), -1, -1),
        "encoder_attention_mask": mask_S.expand(len(texts), -1),
    }
    with torch.no_grad():
        log_p = decoder(ids, **memory).logits.double().log_softmax(-1).tolist()
    return [sum(log_p[n][t][token] for t, token in enumerate(text)) for n, text in enumerate(texts)]


def all_texts(vocab_size: int, max_length: int) -> list[list[int]]:
    others = [token for token in range(vocab_size) if token != EOS]
    ended = [[*text, EOS] for n in range(max_length) for text in itertools.product(others, repeat=n)]
    return ended + [list(text) for text in itertools.product(others, repeat=max_length)]


@pytest.mark.parametrize("length_penalty", [0.0, 1.0, 2.5, -1.0])
def test_beam_search_with_enough_beams_finds_the_best_of_all_texts(make_decoder, length_penalty):
    decoder, (memory_BSZ, mask_BS) = make_decoder(vocab_size=4), memories()
    num_beams = 3**3 * 4  # all continuations of all texts of three tokens
    rows = [x.repeat_interleave(num_beams, dim=0) for x in (memory_BSZ, mask_BS)]
    with torch.no_grad():
        found = beam_search(DecoderSteps(decoder, *rows), num_beams, **IDS, max_length=4, length_penalty=length_penalty)
    for b, (memory_SZ, mask_S) in enumerate(zip(memory_BSZ, mask_BS, strict=True)):
        texts = all_texts(4, 4)
        log_p = log_p_of(decoder, texts, memory_SZ, mask_S)
        scores = [(one / len(text) ** length_penalty, text) for one, text in zip(log_p, texts, strict=True)]
        best = sorted(scores, reverse=True)[:5]
        assert texts_of(found.ids_BKT[b, :5]) == [text for _, text in best]
        torch.testing.assert_close(found.scores_BK[b, :5], torch.tensor([score for score, _ in best]), rtol=1e-4, atol=1e-4)


def test_one_beam_without_length_penalty_is_greedy(make_decoder):
    decoder, (memory_BSZ, mask_BS) = make_decoder(), memories()
    beam = generate(decoder, memory_BSZ, mask_BS, method="beam", num_beams=1, length_penalty=0.0, max_length=9, **IDS)
    assert texts_of(beam) == texts_of(generate(decoder, memory_BSZ, mask_BS, max_length=9, **IDS))


@pytest.mark.parametrize("length_penalty", [0.0, 1.0, 1.7])
@pytest.mark.parametrize("num_beams", [2, 3, 5])
def test_beam_search_equals_that_of_transformers(num_beams, length_penalty):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=13, n_embd=16, n_layer=2, n_head=4, n_positions=16, add_cross_attention=True, bos_token_id=BOS,
        eos_token_id=EOS, pad_token_id=PAD, tie_word_embeddings=False,
    )  # fmt: skip
    gpt2 = transformers.GPT2LMHeadModel(config).eval()
    for weight in gpt2.parameters():
        if weight.ndim == 2:
            nn.init.normal_(weight, std=0.4)
    gpt2.lm_head.weight.data[EOS] *= 4  # ends are neither rare nor sure
    memory_BSZ, mask_BS = memories(batch=8, size=16)
    expected = gpt2.generate(
        torch.full((8, 1), BOS),
        attention_mask=torch.ones(8, 1, dtype=torch.long),
        encoder_hidden_states=memory_BSZ,
        encoder_attention_mask=mask_BS.long(),
        max_new_tokens=10,
        num_beams=num_beams,
        length_penalty=length_penalty,
        early_stopping="never",
        do_sample=False,
    )[:, 1:]
    ids_BT = generate(
        gpt2, memory_BSZ, mask_BS.long(), method="beam", num_beams=num_beams, length_penalty=length_penalty, max_length=10, **IDS
    )
    expected[:, 1:].masked_fill_((expected == EOS).cumsum(1)[:, :-1] > 0, PAD)  # transformers fills with EOS where PAD is 0
    assert texts_of(ids_BT) == texts_of(expected)
    assert len(set(map(len, texts_of(ids_BT)))) > 1


def test_sampled_texts_are_as_frequent_as_the_model_says(make_decoder):
    decoder, (memory_BSZ, mask_BS) = make_decoder(vocab_size=4, scale=0.3), memories()
    num_samples, texts = 20_000, all_texts(4, 3)
    memory_SZ, mask_S = memory_BSZ[1], mask_BS[1]
    rows = memory_SZ.expand(num_samples, -1, -1), mask_S.expand(num_samples, -1)
    samples = texts_of(generate(decoder, *rows, method="sample", max_length=3, seed=0, **IDS))
    p = torch.tensor(log_p_of(decoder, texts, memory_SZ, mask_S), dtype=torch.float64).exp()
    torch.testing.assert_close(p.sum(), torch.tensor(1.0).double(), rtol=1e-5, atol=1e-5)
    counts = torch.tensor([samples.count(text) for text in texts]).double()
    assert counts.sum() == num_samples
    likely = num_samples * p >= 5
    observed = torch.cat([counts[likely], counts[~likely].sum(0, keepdim=True)])[: likely.sum() + (~likely).any()]
    expected = (torch.cat([p[likely], p[~likely].sum(0, keepdim=True)]) * num_samples)[: len(observed)]
    chi_square = float(((observed - expected) ** 2 / expected).sum())
    degrees = len(expected) - 1
    assert degrees > 10
    assert chi_square < degrees + 4 * (2 * degrees) ** 0.5  # four standard deviations


def test_a_row_is_sampled_alike_whatever_its_neighbours(make_decoder):
    decoder, (memory_BSZ, mask_BS) = make_decoder(), memories(batch=6)
    together = texts_of(generate(decoder, memory_BSZ, mask_BS, method="sample", seed=11, max_length=9, **IDS))
    assert len({tuple(text) for text in together}) > 1
    for first, last in ((0, 2), (2, 3), (3, 6)):
        seeds = row_seeds(11, last - first, first)
        part = generate(decoder, memory_BSZ[first:last], mask_BS[first:last], method="sample", seed=seeds, max_length=9, **IDS)
        assert texts_of(part) == together[first:last]


def test_samples_differ_by_seed_and_without_one_by_the_global_generator(make_decoder):
    decoder, (memory_BSZ, mask_BS) = make_decoder(), memories()

    def sample(seed):
        return generate(decoder, memory_BSZ, mask_BS, method="sample", seed=seed, max_length=9, **IDS).tolist()

    assert sample(1) == sample(1) != sample(2)
    torch.manual_seed(0)
    first, second = sample(None), sample(None)
    torch.manual_seed(0)
    assert first == sample(None) != second


def test_uniform_numbers_are_uniform_and_independent_of_one_another():
    rows, steps = row_seeds(3, 400), 100
    u = torch.stack([uniform(rows, step) for step in range(steps)], dim=1)
    assert u.min() >= 0
    assert u.max() < 1
    counts = torch.histc(u, bins=50, min=0, max=1)
    chi_square = ((counts - u.numel() / 50) ** 2 / (u.numel() / 50)).sum()
    assert chi_square < 49 + 4 * 98**0.5
    for shifted in (u.roll(1, 0), u.roll(1, 1), torch.stack([uniform(row_seeds(4, 400), step) for step in range(steps)], dim=1)):
        correlation = ((u - 0.5) * (shifted - 0.5)).mean() * 12
        assert abs(correlation) < 4 / u.numel() ** 0.5
    assert len(set(u.flatten().tolist())) == u.numel()


def test_splitmix_gives_its_published_numbers():
    from mmkit.models.encoder_decoder.generation.random_numbers import _GAMMA, mixed

    state = torch.tensor(1234567) + torch.arange(1, 4) * _GAMMA  # the reference implementation's test vector
    assert [x % 2**64 for x in mixed(state).tolist()] == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_drawing_inverts_the_cumulative_distribution():
    logits_NV = torch.tensor([[0.2, 0.0, 0.5, 0.3]]).log().expand(7, -1)
    u_N = torch.tensor([0.0, 0.199, 0.201, 0.699, 0.701, 0.999, 1 - 2.0**-52], dtype=torch.float64)
    assert drawn(logits_NV, u_N).tolist() == [0, 0, 2, 2, 3, 3, 3]
    assert drawn(torch.tensor([[0.0, -torch.inf]]), u_N[-1:]).tolist() == [0]


def test_top_k_and_top_p_keep_what_a_sort_would():
    generator = torch.Generator().manual_seed(0)
    logits_NV = torch.randn(20, 9, generator=generator)
    p_NV = logits_NV.softmax(-1)
    for n in range(20):
        order = sorted(range(9), key=lambda v: -p_NV[n, v])
        assert keep_top_k(logits_NV, 3)[n].isfinite().nonzero().flatten().tolist() == sorted(order[:3])
        for top_p in (0.1, 0.5, 0.9):
            kept = next(k for k in range(1, 10) if sum(p_NV[n, v] for v in order[:k]) >= top_p)
            assert keep_top_p(logits_NV, top_p)[n].isfinite().nonzero().flatten().tolist() == sorted(order[:kept])
    assert torch.equal(keep_top_k(logits_NV, 100), logits_NV)
    assert torch.equal(keep_top_p(logits_NV, 1.0), logits_NV)


@pytest.mark.parametrize("settings", [{"top_k": 1}, {"top_p": 1e-9}, {"temperature": 1e-6}], ids=str)
def test_sampling_from_the_best_token_alone_is_greedy(make_decoder, settings):
    decoder, (memory_BSZ, mask_BS) = make_decoder(), memories()
    sampled = generate(decoder, memory_BSZ, mask_BS, method="sample", max_length=9, **IDS, **settings)
    assert torch.equal(sampled, generate(decoder, memory_BSZ, mask_BS, max_length=9, **IDS))


@pytest.mark.parametrize("settings", [{}, {"method": "beam", "num_beams": 2}], ids=str)
def test_without_an_end_rows_have_the_full_length(make_decoder, settings):
    decoder, (memory_BSZ, _) = make_decoder(), memories()
    assert generate(decoder, memory_BSZ, bos_id=BOS, eos_id=None, pad_id=PAD, max_length=6, **settings).shape == (5, 6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "best"}, r"Unknown method 'best'\. Allowed: greedy, sample, beam\."),
        ({"max_length": 0}, r"max_length=0 must be at least 1"),
        ({"top_k": 3}, r"top_k=3 has no effect with method='greedy'\. Leave it out, or set method='sample'\."),
        ({"method": "sample", "num_beams": 3}, r"num_beams=3 has no effect with method='sample'.*method='beam'"),
        ({"method": "beam", "num_beams": 0}, r"num_beams=0 must be at least 1"),
        ({"method": "sample", "temperature": 0.0}, r"temperature=0.0 must be positive.*method='greedy'"),
        ({"method": "sample", "temperature": float("nan")}, r"temperature=nan must be positive"),
        ({"method": "sample", "top_k": 0}, r"top_k=0 must be at least 1"),
        ({"method": "sample", "top_p": 1.5}, r"top_p=1.5 must be above 0 and at most 1"),
        (
            {"method": "sample", "seed": torch.arange(3)},
            r"seed has the shape \(3,\) for 5 rows\. Give one number, or one a row\.",
        ),
    ],
    ids=lambda value: str(value)[:30],
)
def test_settings_that_cannot_work_are_refused(make_decoder, settings, message):
    with pytest.raises(ValueError, match=message):
        generate(make_decoder(), *memories(), **IDS, **settings)


@pytest.mark.parametrize("settings", [{}, {"method": "sample", "seed": 5}, {"method": "beam"}], ids=str)
def test_nothing_comes_of_an_empty_batch(make_decoder, settings):
    assert len(generate(make_decoder(), memories()[0][:0], max_length=4, **settings, **IDS)) == 0
