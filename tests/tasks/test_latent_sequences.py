"""What a trained encoder–decoder is asked for: encode, decode, reconstruct, sample, interpolate."""

from contextlib import contextmanager

import pytest
import torch

import mmkit
from mmkit.archive import build
from mmkit.hiddens import HiddensError, HiddensPipeline
from mmkit.models.encoder_decoder import row_seeds
from mmkit.models.encoder_decoder.generation.random_numbers import uniform
from mmkit.tasks.base import TrainingTask
from mmkit.tasks.latent_interpolation import slerp
from tests.tasks.tiny_autoencoders import FAITHFUL, GAUSSIAN, LATENT, TEXTS, VAE, learn, task_of, tokenizer


POOLED = {
    "enc_output_name": "z",
    "transform": {
        "pool": {"cls_name": "mean_pool"},
        "q": {**GAUSSIAN["q"], "inputs": {"hiddens": "pool.pooled"}},
    },
    "loss": {"vae": {"cls_name": "vae", "loss_weight": 0.01}},
}


@pytest.fixture(scope="module")
def task():
    """Has learned its six texts, with two latent positions."""
    task = task_of(FAITHFUL)
    learn(task, TEXTS)
    return task


def test_texts_come_out_of_their_latents_again(task):
    z = task.encode(TEXTS)
    assert z.shape == (6, 2, LATENT)
    assert task.decode(z) == task.reconstruct(TEXTS) == TEXTS
    assert task.reconstruct("cab") == ["cab"]


def test_latents_are_posterior_means_one_by_one(task):
    with torch.no_grad():
        alone = torch.cat([task.eval()(tokenizer()([text])).hiddens["z_mean"] for text in TEXTS])
    torch.testing.assert_close(task.train().encode(TEXTS), alone, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(task.encode(tokenizer()(TEXTS)), alone, atol=1e-5, rtol=1e-4)


def test_batches_of_any_size_give_the_same(task):
    torch.testing.assert_close(task.encode(TEXTS, batch_size=4), task.encode(TEXTS), atol=1e-5, rtol=1e-4)
    assert task.reconstruct(TEXTS, batch_size=4) == task.reconstruct(TEXTS, batch_size=1) == task.reconstruct(TEXTS)
    options = {"seed": 3, "method": "sample", "temperature": 2.0}
    assert task.sample(7, batch_size=2, **options) == task.sample(7, **options)


def test_what_is_sampled_depends_on_the_seed_alone(task):
    first = task.sample(6, seed=1, method="sample")
    torch.rand(5)
    assert task.sample(6, seed=1, method="sample") == first
    assert task.sample(4, seed=1, method="sample") == first[:4]
    assert task.sample(6, seed=2, method="sample") != first


def latents_of(size, positions, n, seed=1):
    """Draws of the prior of an untrained task."""
    q = {"q": {**GAUSSIAN["q"], "latent_size": size}}
    hiddens = HiddensPipeline(q, enc_output_name="z")
    task = task_of(FAITHFUL, arch="transformer")
    task.model.hiddens = hiddens
    return task.sample_latents(n, seed, num_positions=positions)


@pytest.mark.parametrize(("positions", "size"), [(1, 1), (1, 3), (5, 3), (2, 4), (4, 16)])
def test_the_first_draws_of_a_seed_are_the_same_for_every_n(positions, size):
    many = latents_of(size, positions, 40)
    assert many.shape == (40, positions, size)
    for n in (0, 1, 3, 5, 9, 12, 17):
        assert torch.equal(latents_of(size, positions, n), many[:n]), n
    assert len(many.unique()) == many.numel()
    assert not torch.equal(latents_of(size, positions, 40, seed=2), many)


def test_draws_are_independent_standard_normals():
    x = latents_of(8, 2, 5000, seed=0).flatten(1).double()
    ranks = (torch.arange(x.numel()) + 0.5) / x.numel()  # Kolmogorov and Smirnov, at 1 %
    assert (torch.special.ndtr(x.flatten().sort().values) - ranks).abs().max() < 1.63 / x.numel() ** 0.5
    correlations = torch.cat([torch.corrcoef(x.T).triu(1).flatten(), torch.corrcoef(x.T.reshape(16, 2, -1)[:, 0])[0, 1:]])
    assert correlations.abs().max() < 5 / 2500**0.5
    assert x.abs().max() < 7


def test_latents_are_other_numbers_than_the_draws_of_tokens_with_the_same_seed():
    x = torch.special.ndtr(latents_of(1, 1, 200, seed=3).double().flatten())
    tokens = uniform(row_seeds(3, 200), 0)
    assert torch.corrcoef(torch.stack([x, tokens]))[0, 1].abs() < 0.3


def test_without_a_seed_torch_gives_one(task):
    torch.manual_seed(0)
    first, second = task.sample_latents(3), task.sample_latents(3)
    torch.manual_seed(0)
    assert torch.equal(task.sample_latents(3), first)
    assert not torch.equal(first, second)


def test_nothing_is_drawn_of_what_is_encoded_where_evaluation_draws(task):
    means, path = task.encode(TEXTS), task.interpolate("abc", "bbbb", steps=5)
    with drawing_in_evaluation(task) as transform:
        assert not torch.equal(*(task.eval()(tokenizer()(TEXTS)).hiddens["z"] for _ in range(2)))
        for batch_size in (64, 4):
            torch.testing.assert_close(task.encode(TEXTS, batch_size=batch_size), means, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(task.encode(TEXTS, "text"), means.mean(1), atol=1e-5, rtol=1e-4)
        assert task.reconstruct(TEXTS) == TEXTS
        assert task.interpolate("abc", "bbbb", steps=5) == path
        with pytest.raises(ValueError, match="no text"):
            task.encode([])
        assert transform.sample_in_eval


@contextmanager
def drawing_in_evaluation(task):
    transform = task.model.hiddens.transforms["q"]
    transform.sample_in_eval = True
    try:
        yield transform
    finally:
        transform.sample_in_eval = False


def test_a_path_leads_from_text_to_text(task):
    path = task.interpolate("abc", "bbbb", steps=5)
    assert (len(path), path[0], path[-1]) == (5, "abc", "bbbb")
    a, b = task.encode(["abc", "bbbb"])
    assert task.decode(slerp(a, b, 5)) == task.interpolate(a, b, steps=5) == path


def test_mode_and_random_state_are_left_alone_and_there_is_no_gradient(task):
    task.train()
    task.model.decoder.eval()  # as one that is frozen
    before = torch.get_rng_state()
    z = task.encode(TEXTS)
    task.decode(z, method="sample", seed=0)
    task.interpolate("a", "abc", 3)
    task.sample(2, seed=0)
    assert torch.equal(torch.get_rng_state(), before)
    assert not z.requires_grad
    assert task.model.encoders["text"].training
    assert not task.model.decoder.training
    task.model.decoder.train()


def test_ids_end_with_their_end_and_are_padded(task):
    ids = task.decode_ids(task.encode(["a", "abc"]))
    assert ids.tolist() == [[5, 2, 0, 0], [5, 6, 7, 2]]
    assert task.decode_ids(task.encode(["abc"]), max_length=2).tolist() == [[5, 6]]
    assert task.decode(task.encode(["abc", "a"]), method="beam", num_beams=2) == ["abc", "a"]


def test_evaluation_tasks_compare_means_over_positions(task):
    task.eval()
    z = task.encode(TEXTS)
    pooled = task.encode({**tokenizer()(TEXTS), "rgb": torch.zeros(2)}, "text")
    torch.testing.assert_close(pooled, z.mean(1), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(task.encode(TEXTS, "text"), pooled)
    with pytest.raises(ValueError, match=r"No encoder for the modality 'rgb'\. The model encodes: text"):
        task.encode({"rgb": torch.zeros(2)}, "rgb")


def test_latents_of_different_lengths_have_a_mask():
    task = task_of(FAITHFUL, arch="transformer")
    learn(task, TEXTS)
    with pytest.raises(ValueError, match=r"different numbers of latent positions. Use latents\(inputs\).*perceiver"):
        task.encode(["abc", "a"])
    z, mask = task.latents(["abc", "a"], batch_size=1)
    assert z.shape == (2, 5, LATENT)
    assert mask.tolist() == [[True] * 5, [True] * 3 + [False] * 2]
    assert z[1, 3:].abs().max() == 0
    assert task.decode(z, mask) == task.reconstruct(["abc", "a"]) == [task.reconstruct(text)[0] for text in ("abc", "a")]
    with pytest.raises(ValueError, match=r"no path from latents of the shape \(5, 4\) to \(3, 4\)"):
        task.interpolate("abc", "a", 3)
    with pytest.raises(HiddensError, match="num_positions"):
        task.sample(2, seed=0)
    assert len(task.sample(2, seed=0, num_positions=4)) == 2


def test_a_bottleneck_fixes_what_is_sampled():
    task = task_of(POOLED, arch="transformer")
    assert task.sample_latents(3, seed=0).shape == (3, 1, LATENT)
    assert task.encode(["abc", "a"]).shape == (2, 1, LATENT)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        pytest.param(lambda task: task.encode([]), "no text to encode", id="nothing"),
        pytest.param(lambda task: task.decode(torch.zeros(2, LATENT)), r"got the shape \(2, 4\)", id="flat"),
        pytest.param(lambda task: task.interpolate("a", "b", 1), "steps=1", id="one point"),
        pytest.param(lambda task: task.sample(2, num_positions=3), "num_positions=3", id="positions"),
    ],
)
def test_what_cannot_be_answered_is_told(task, ask, message):
    with pytest.raises(ValueError, match=message):
        ask(task)


def test_without_a_tokenizer_tensors_are_answered(task):
    task.tokenizer, kept = None, task.tokenizer
    try:
        with pytest.raises(ValueError, match=r"There is no tokenizer\. Name one: /datasets/tokenizers@task.tokenizer"):
            task.encode(["a"])
        assert task.decode_ids(task.encode(tokenizer()(["a"])), max_length=8).tolist() == [[5, 2]]
    finally:
        task.tokenizer = kept


def test_the_saved_task_says_the_same(tmp_path):
    sizes = {"vocab_size": 8, "hidden_size": 12, "num_layers": 1, "num_attention_heads": 2, "dropout": 0.0}
    encoder = {"_target_": "mmkit.modules.encoders.SequenceEncoder", "arch": "perceiver", "hidden_steps": 2, **sizes}
    task = build(
        {
            "_target_": "mmkit.tasks.EncoderDecoderPretraining",
            "tokenizer": {"_target_": "mmkit.datasets.tokenizers.CharacterTokenizer", "alphabet": "abc", "max_length": 8},
            "model": {
                "_target_": "mmkit.models.encoder_decoder.EncoderDecoder",
                "encoder": encoder,
                "decoder": {"_target_": "mmkit.modules.decoders.TransformerDecoder", "memory_size": LATENT, **sizes},
                "hiddens": VAE,
            },
        }
    )
    learn(task, TEXTS, steps=20)
    path = task.save_to(tmp_path / "vae")
    said = answers(task)
    assert answers(TrainingTask.restore_from(path)) == answers(mmkit.from_pretrained(path)) == said


def answers(task):
    return task.sample(5, seed=7, method="sample"), task.reconstruct(TEXTS), task.interpolate("abc", "a", 4)
