"""The joint loss and what is logged of it, against NumPy in double precision."""

import math
from collections import Counter
from functools import partial

import numpy as np
import pytest
import torch
from torch._dynamo.utils import clear_compilation_metrics, get_compilation_metrics

from mmkit.constants import IGNORED_LABEL
from mmkit.datasets.tokenizers import ByteTokenizer
from mmkit.hiddens import BaseHiddenLoss
from mmkit.tasks import EncoderDecoderPretraining
from mmkit.tasks.encoder_decoder_targets import target_of
from tests.tasks.tiny_autoencoders import (
    GAUSSIAN,
    LATENT,
    MIM,
    TEXTS,
    VAE,
    batches,
    fit,
    learn,
    model_of,
    task_of,
    tokenizer,
    validated,
)


def log_probabilities(logits):
    x = logits.double().numpy()
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def expected(task, data):
    """Sums over examples and tokens, one by one: nll, tokens, hits, examples, KL and A-MIM's latent term of each example."""
    nll, tokens, hits, kl, mim = 0.0, 0, 0, [], []
    with torch.no_grad():
        for batch in data:
            prediction = task(batch)
            scores, labels = log_probabilities(prediction.logits), prediction.labels.numpy()
            mean, logvar = (prediction.hiddens[name].double().numpy() for name in ("q.z_mean", "q.z_logvar"))
            for row in range(len(labels)):
                for t in np.flatnonzero(labels[row] != IGNORED_LABEL):
                    nll, tokens = nll - scores[row, t, labels[row, t]], tokens + 1
                    hits += scores[row, t].argmax() == labels[row, t]
                m, v = mean[row], np.exp(logvar[row])
                kl.append(np.mean((m**2 + v - 1 - np.log(v)).sum(-1) / 2))
                mim.append(np.mean(((m**2 + v + 1 + np.log(v)) / 4 + math.log(2 * math.pi) / 2).sum(-1)))
    return {"nll": nll, "tokens": tokens, "hits": hits, "examples": len(kl), "kl": np.mean(kl), "mim": np.mean(mim)}


def losses_of(task, batch):
    return task.losses(batch, task(batch))


HIDDENS = {
    "enc_output_name": "z",
    "transform": GAUSSIAN,
    "loss": {"vae": {"cls_name": "vae", "loss_weight": 0.3}, "mim": {"cls_name": "a_mim", "loss_weight": 2.0}},
    "tokens_loss_weight": 0.7,
}


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_loss_is_the_weighted_sum_of_its_terms(reduction):
    task, [batch] = task_of(HIDDENS, tokens_loss_reduction=reduction).eval(), list(batches([6]))
    sums = expected(task, [batch])
    tokens_loss = sums["nll"] / sums["tokens" if reduction == "mean" else "examples"]
    losses = losses_of(task, batch)
    assert losses.tokens_loss.item() == pytest.approx(tokens_loss, rel=1e-5)
    assert losses.terms["vae_loss"].item() == pytest.approx(sums["kl"], rel=1e-5)
    assert losses.terms["mim_loss"].item() == pytest.approx(sums["mim"], rel=1e-5)
    assert losses.terms["hiddens_loss"].item() == pytest.approx(0.3 * sums["kl"] + 2 * sums["mim"], rel=1e-5)
    assert losses.loss.item() == pytest.approx(0.7 * tokens_loss + 0.3 * sums["kl"] + 2 * sums["mim"], rel=1e-5)


@pytest.mark.parametrize(
    ("changes", "loss"),
    [
        pytest.param({"tokens_loss_weight": 0.0}, lambda s: 0.3 * s["kl"] + 2 * s["mim"], id="no tokens"),
        pytest.param({"tokens_loss_weight": 3.0, "loss": {}}, lambda s: 3 * s["nll"] / s["tokens"], id="tokens alone"),
        pytest.param(
            {"loss": {"vae": {"cls_name": "vae", "loss_weight": 0.0}}}, lambda s: 0.7 * s["nll"] / s["tokens"], id="no KL"
        ),
        pytest.param(
            {"loss": {"vae": {"cls_name": "vae", "loss_weight": 5.0}}},
            lambda s: 0.7 * s["nll"] / s["tokens"] + 5 * s["kl"],
            id="much KL",
        ),
    ],
)
def test_every_weight_is_honoured(changes, loss):
    task, [batch] = task_of({**HIDDENS, **changes}).eval(), list(batches([6]))
    assert losses_of(task, batch).loss.item() == pytest.approx(loss(expected(task, [batch])), rel=1e-5)


@pytest.mark.parametrize("weight", [0.0, 1.0, 2.5])
def test_gradients_are_those_of_the_weighted_sum(weight):
    task, [batch] = task_of({**HIDDENS, "tokens_loss_weight": weight}).eval(), list(batches([6]))
    losses = losses_of(task, batch)
    decoder = task.model.decoder.embedding.weight
    [joint], [alone] = (torch.autograd.grad(loss, [decoder], retain_graph=True) for loss in (losses.loss, losses.tokens_loss))
    torch.testing.assert_close(joint, weight * alone)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("arch", ["perceiver", "transformer"])
def test_no_loss_depends_on_copies_order_or_padding(reduction, arch):
    task = task_of(HIDDENS, arch=arch, tokens_loss_reduction=reduction).double().eval()
    [batch] = batches([6])
    same = losses_of(task, batch)
    twice = {key: value.repeat(2, 1).flip(0) for key, value in batch.items()}
    padded = {key: torch.nn.functional.pad(value, (0, 3)) for key, value in batch.items()}
    for other in (twice, padded):
        again = losses_of(task, other)
        assert again.loss.item() == pytest.approx(same.loss.item(), rel=1e-9)
        for name, value in same.terms.items():
            assert again.terms[name].item() == pytest.approx(value.item(), rel=1e-9), name


def test_evaluation_logs_ratios_over_the_epoch_that_add_up():
    task = task_of(HIDDENS, num_reconstructions=4)
    metrics, sums = validated(task, batches()), expected(task.eval(), batches())
    tokens_loss = sums["nll"] / sums["tokens"]
    hidden = 0.3 * sums["kl"] + 2 * sums["mim"]
    wanted = {
        "val/tokens_loss": tokens_loss, "val/vae_loss": sums["kl"], "val/mim_loss": sums["mim"], "val/hiddens_loss": hidden,
        "val/loss": 0.7 * tokens_loss + hidden, "val/perplexity": math.exp(tokens_loss),
        "val/accuracy": sums["hits"] / sums["tokens"],
    }  # fmt: skip
    assert {name: metrics[name] for name in wanted} == pytest.approx(wanted, rel=1e-5)
    assert {"val/vae_kl", "val/mim_log_p_z", "val/exact_match"} <= metrics.keys()


GUIDED = {
    "enc_output_name": "z",
    "transform": {
        **GAUSSIAN,
        "kind": {"cls_name": "guided_cls", "hidden_size": LATENT, "num_classes": 2, "inputs": {"hiddens": "z"}},
    },
    "loss": {
        "vae": {"cls_name": "vae", "loss_weight": 0.3},
        "guide": {"cls_name": "guided_cls_loss", "loss_weight": 2.0},
    },
}


def labelled(classes):
    """The texts in batches of 3, 2 and 1, with classes."""
    parts = torch.tensor(classes).split([3, 2, 1])
    return [{**batch, "label": part} for batch, part in zip(batches(), parts, strict=True)]


@pytest.mark.parametrize("classes", [[0, -100, 1, -100, -100, 1], [-100, -100, 0, 1, 1, -100], [1, 0, 1, 0, 1, 1]])
def test_evaluation_counts_the_examples_that_have_a_class(classes):
    task, data = task_of(GUIDED), labelled(classes)
    metrics = validated(task, data)
    with torch.no_grad():
        logits = torch.cat([task.eval()(batch).hiddens["kind.label_logits"] for batch in data])
    known = np.array(classes) != -100
    scores, right = log_probabilities(logits)[known], np.array(classes)[known]
    loss = -scores[np.arange(len(right)), right].mean()
    assert metrics["val/guide_loss"] == pytest.approx(loss, rel=1e-5)
    assert metrics["val/guide_accuracy"] == pytest.approx((scores.argmax(1) == right).mean())
    kl = expected(task, data)["kl"]
    assert metrics["val/hiddens_loss"] == pytest.approx(0.3 * kl + 2 * loss, rel=1e-5)
    assert metrics["val/loss"] == pytest.approx(metrics["val/tokens_loss"] + metrics["val/hiddens_loss"], rel=1e-5)


def test_nothing_is_logged_of_classes_where_no_example_has_one():
    metrics = validated(task_of(GUIDED), labelled([-100] * 6))
    assert not {"val/guide_loss", "val/guide_accuracy"} & metrics.keys()
    assert metrics["val/hiddens_loss"] == pytest.approx(0.3 * metrics["val/vae_loss"], rel=1e-5)


def test_an_example_without_a_latent_position_counts_for_no_latent_loss():
    task, data = task_of(VAE, arch="transformer"), list(batches())
    empty = {key: value.clone() for key, value in data[0].items()}
    empty["text_attention_mask"][1] = 0
    data[0] = {**empty, "text_target": target_of(data[0], "text")}
    metrics, kl = validated(task, data), []
    with torch.no_grad():
        for batch in data:
            hiddens = task.eval()(batch).hiddens
            each = (hiddens["z_mean"] ** 2 + hiddens["z_logvar"].exp() - 1 - hiddens["z_logvar"]).sum(-1) / 2
            kl += [row[mask.bool()].mean() for row, mask in zip(each, hiddens["enc_output_mask"], strict=True) if mask.any()]
    assert len(kl) == 5
    assert metrics["val/vae_loss"] == pytest.approx(np.mean(kl), rel=1e-5)


def test_evaluation_logs_what_became_of_the_gaussian():
    task = task_of(VAE)
    metrics, sums = validated(task, batches()), expected(task.eval(), batches())
    with torch.no_grad():
        latents = [task(batch).hiddens for batch in batches()]
    means, logvars = (torch.cat([each[f"q.z_{name}"] for each in latents]).double().numpy() for name in ("mean", "logvar"))
    assert metrics["val/q_kl_per_position"] == pytest.approx(sums["kl"], rel=1e-5)
    assert metrics["val/q_kl"] == pytest.approx(2 * sums["kl"], rel=1e-5)  # two positions
    assert metrics["val/q_active_units"] == (means.var(0, ddof=1) > 0.01).sum()
    assert metrics["val/q_logvar_at_lower"] == pytest.approx((logvars < -5.9).mean())


def test_evaluation_by_sums_counts_every_example_alike():
    task = task_of(VAE, tokens_loss_reduction="sum")
    metrics, sums = validated(task, batches()), expected(task.eval(), batches())
    assert metrics["val/tokens_loss"] == pytest.approx(sums["nll"] / sums["examples"], rel=1e-5)
    assert metrics["val/loss"] == pytest.approx(sums["nll"] / sums["examples"] + sums["kl"], rel=1e-5)


def recorded(task):
    """The values of every step that the task logs from now on."""
    seen, log_step = [], task.log_step

    def record(values, **options):
        seen.append({name: value.item() for name, value in values.items()})
        log_step(values, **options)

    task.log_step = record
    return seen


def test_training_logs_every_term_by_name():
    task, data = task_of(HIDDENS), list(batches())
    task.optimizer = partial(torch.optim.SGD, lr=0.0)
    seen = recorded(task)
    fit(task, data, max_epochs=1)
    logged = {name: float(value) for name, value in task.trainer.callback_metrics.items()}
    names = ("loss", "tokens_loss", "hiddens_loss", "vae_loss", "vae_kl", "mim_loss", "mim_log_p_z", "mim_log_q_z_given_x")
    for name in names:
        assert logged[f"train/{name}"] == pytest.approx(np.mean([values[name] for values in seen]), rel=1e-5)
    assert logged["train/loss"] == pytest.approx(0.7 * logged["train/tokens_loss"] + logged["train/hiddens_loss"], rel=1e-5)
    nll, tokens = (sum(values[f"tokens/{name}"] for values in seen) for name in ("nll", "num_tokens"))
    assert logged["train/perplexity"] == pytest.approx(math.exp(nll / tokens), rel=1e-5)
    assert not any("/tokens/" in name for name in logged)


def test_a_schedule_follows_the_optimizer_steps_and_is_logged():
    schedule = {"schedule": "linear_warmup", "value": 1.0, "warmup_steps": 8}
    task = task_of({**VAE, "loss": {"vae": {"cls_name": "vae", "loss_weight": schedule}}})
    seen = recorded(task)
    fit(task, batches([2, 2, 1, 1]), max_epochs=2, accumulate_grad_batches=2)
    assert [values["vae_weight"] for values in seen] == [0, 0, 1 / 8, 1 / 8, 2 / 8, 2 / 8, 3 / 8, 3 / 8]
    assert float(task.trainer.callback_metrics["val/vae_weight"]) == 4 / 8


def test_evaluation_draws_alike_every_time_and_leaves_training_its_random_numbers():
    sampled = {"q": {**GAUSSIAN["q"], "sample_in_eval": True}}
    task, data = task_of({**VAE, "transform": sampled}), list(batches())
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = validated(task, data)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    assert validated(task, data) == first
    assert validated(task_of(VAE), data)["val/tokens_loss"] != first["val/tokens_loss"]


def test_training_is_the_same_with_and_without_validation():
    weights = []
    for limit in (0, 1.0):
        task = task_of(VAE, dropout=0.3, num_reconstructions=2)
        torch.manual_seed(1)
        fit(task, batches(), max_epochs=2, limit_val_batches=limit)
        weights.append(torch.cat([p.detach().flatten() for p in task.model.parameters()]))
    assert torch.equal(*weights)


def test_label_smoothing_is_in_the_loss_and_not_in_perplexity():
    plain, smooth = (validated(task_of(label_smoothing=value), batches()) for value in (0.0, 0.2))
    assert smooth["val/perplexity"] == plain["val/perplexity"] == pytest.approx(math.exp(plain["val/loss"]))
    assert smooth["val/loss"] != plain["val/loss"]


def test_exact_match_is_the_share_of_the_first_texts_that_come_out_again():
    task = task_of(num_reconstructions=5)
    learn(task, TEXTS)
    metrics = validated(task, batches())
    same = [text == again for text, again in zip(TEXTS, task.reconstruct(TEXTS), strict=True)]
    assert metrics["val/exact_match"] == pytest.approx(np.mean(same[:5]))
    assert metrics["val/exact_match"] == 1


def test_no_hidden_loss_is_logged_where_there_is_none():
    assert not any("hidden" in name for name in validated(task_of(), batches()))


def test_a_batch_without_any_target_token_has_no_gradient_and_no_nan():
    task, batch = task_of(), tokenizer()(["a"])
    batch["text_target"] = torch.full((1, 2), IGNORED_LABEL)
    loss = losses_of(task, batch).loss
    loss.backward()
    assert loss.item() == 0
    assert not any(p.grad is not None and p.grad.any() for p in task.parameters())


def test_a_denoisers_target_is_predicted_instead_of_the_input():
    task, [batch] = task_of(VAE).eval(), list(batches([6]))
    other = {**batch, "text_target": target_of(tokenizer()(TEXTS[::-1]), "text")}
    torch.testing.assert_close(task(other).hiddens["z_mean"], task(batch).hiddens["z_mean"])
    assert task(other).labels.tolist() == other["text_target"].tolist()
    assert losses_of(task, other).tokens_loss != losses_of(task, batch).tokens_loss


class Tokens(BaseHiddenLoss):
    input_names = ("hiddens",)

    def forward(self, inputs, batch_data=None):
        return {"loss": inputs["hiddens"].mean()}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(lambda: task_of(tokens_loss_reduction="max"), "Unknown tokens_loss_reduction 'max'", id="reduction"),
        pytest.param(lambda: task_of(label_smoothing=1.0), r"label_smoothing must be in \[0, 1\), got 1.0", id="smoothing"),
        pytest.param(
            lambda: task_of(tokenizer=ByteTokenizer()), r"decoder.vocab_size=\d+, but the tokenizer has 260 ids", id="vocabulary"
        ),
        pytest.param(lambda: EncoderDecoderPretraining(model_of()), "begin and a padding token, got bos_id=None", id="no ids"),
        pytest.param(
            lambda: EncoderDecoderPretraining(model_of(bos_id=9), tokenizer()),
            "bos_id=9, but the tokenizer's is 1",
            id="other ids",
        ),
        pytest.param(
            lambda: task_of({"loss": {"tokens": Tokens()}}),
            "hiddens.loss.tokens would be logged as 'tokens_loss'",
            id="name",
        ),
        pytest.param(
            lambda: task_of({**VAE, "transform": {"vae": GAUSSIAN["q"]}}),
            "hiddens.loss.vae would be logged as 'vae_kl', which hiddens.transform.vae, as a diagnostic, logs already. Rename",
            id="diagnostic",
        ),
    ],
)
def test_settings_that_cannot_work_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


COMPILED = [VAE, *(pytest.param(hiddens, marks=pytest.mark.slow) for hiddens in (MIM, None))]


@pytest.mark.parametrize("hiddens", COMPILED, ids=["vae", "mim", "plain"])
def test_a_compiled_task_is_not_compiled_again_for_every_step(hiddens):
    if hiddens is VAE:
        schedule = {"schedule": "linear_warmup", "value": 1.0, "warmup_steps": 100}
        hiddens = {**VAE, "loss": {"vae": {"cls_name": "vae", "loss_weight": schedule}}}
    counts = []
    for times in (1, 3):  # the same lengths again: nothing is new
        torch._dynamo.reset()
        clear_compilation_metrics()
        fit(torch.compile(task_of(hiddens), backend="eager"), [*batches([3, 3])] * times, max_epochs=2)
        counts.append(Counter(compiled.co_name for compiled in get_compilation_metrics()))
    assert counts[0] == counts[1]
    assert counts[0]["_scored"] == 3  # in training for one length and for all, in evaluation


def test_latents_are_as_large_as_said():
    task, [batch] = task_of(VAE), list(batches([6]))
    assert task(batch).hiddens["enc_output"].shape == (6, 2, LATENT)
