"""Losses that decode, on a real model of texts."""

import pytest
import torch
from torch.distributions import Normal

from mmkit.hiddens import HiddensError
from tests.tasks.tiny_autoencoders import GAUSSIAN, SIZE, TEXTS, model_of, task_of, tokenizer


def hiddens(cls_name, **arguments):
    loss = {"latent": {"cls_name": cls_name, **arguments}}
    return {"enc_output_name": "z", "transform": GAUSSIAN, "loss": loss, "tokens_loss_weight": 0.0}


def losses_of(task):
    batch = tokenizer()(TEXTS)
    return task.losses(batch, task(batch))


@pytest.mark.parametrize("cls_name", ["iwae", "s_mim"])
def test_encoder_and_decoder_learn_from_losses_that_decode(cls_name):
    task = task_of(hiddens(cls_name, num_samples=2))
    losses_of(task).loss.backward()
    assert [name for name, each in task.model.named_parameters() if each.grad is None or not each.grad.any()] == []


def test_iwae_of_a_narrow_posterior_is_the_likelihood_at_its_mean_and_the_draws_weights():
    task = task_of(hiddens("iwae", num_samples=2)).eval().double()
    head = task.model.hiddens.transforms["q"].head
    head.min_logvar = None
    with torch.no_grad():
        head.proj.weight[4:].zero_()
        head.proj.bias[4:] = -30.0
    batch = tokenizer()(TEXTS)
    outputs = task.model.encode(batch)
    logits, labels = task.model.decode_logits(batch["text"][:, :-1], outputs), batch["text"][:, 1:]
    picked = torch.log_softmax(logits, -1).gather(2, labels.unsqueeze(-1))[..., 0]
    likelihood = (picked * batch["text_attention_mask"][:, 1:]).sum(1)
    torch.manual_seed(0)
    noise = torch.randn(2, len(TEXTS), 2, 4, dtype=torch.float64)
    log_ratio = (0.5 * noise**2 - 15 - 0.5 * outputs["z_mean"] ** 2).sum((2, 3))  # log p(z) - log q(z|x), without log 2π
    expected = -(torch.logsumexp(likelihood + log_ratio, 0) - torch.log(torch.tensor(2.0))).mean()
    torch.manual_seed(0)
    assert losses_of(task).loss.item() == pytest.approx(expected.item(), abs=1e-4)


def test_symmetric_mim_with_the_marginal_dropped_decodes_less():
    counts = {}
    for log_q_x in ("importance", "dropped"):
        task, calls = task_of(hiddens("s_mim", log_q_x=log_q_x)), []
        decode = task.model.decode_logits
        task.model.decode_logits = lambda *arguments, calls=calls, decode=decode, **named: (
            calls.append(1) or decode(*arguments, **named)
        )
        losses_of(task)
        counts[log_q_x] = len(calls)
    assert counts["dropped"] == counts["importance"] - 2


def test_symmetric_mim_needs_as_many_positions_for_every_text():
    with pytest.raises(HiddensError, match=r"hiddens.loss.latent \(SMIMLoss\) needs as many positions.* q.z has.*mean_pool"):
        model_of(hiddens("s_mim"), arch="transformer")
    model_of(hiddens("iwae"), arch="transformer")


@pytest.mark.parametrize("pool", [{"cls_name": "mean_pool"}, {"cls_name": "perceiver", "hidden_size": SIZE}])
def test_a_bottleneck_gives_symmetric_mim_its_positions(pool):
    posterior = {"q": {**GAUSSIAN["q"], "inputs": {"hiddens": "pooled"}}}
    task = task_of({**hiddens("s_mim"), "transform": {"pool": pool, **posterior}}, arch="transformer")
    assert losses_of(task).loss.isfinite()


def test_symmetric_mim_is_the_mean_cross_entropy_of_both_kinds_of_pairs():
    task = task_of(hiddens("s_mim")).eval().double()
    model, latents, generated = task.model, [], []
    likelihood_of, generate = model.log_likelihood, model.generate
    model.log_likelihood = lambda z, *arguments: latents.append(z) or likelihood_of(z, *arguments)
    model.generate = lambda *arguments, **named: generated.append(generate(*arguments, **named)) or generated[-1]
    torch.manual_seed(0)
    loss = losses_of(task).loss

    def cross_entropy(text, z, z_for_marginal):
        """By hand, of one text, without padding."""
        outputs = model.encode({"text": text[None], "text_attention_mask": torch.ones(1, len(text), dtype=torch.long)})
        posterior = Normal(outputs["z_mean"][0], (outputs["z_logvar"][0] / 2).exp())

        def log_likelihood(z):
            scores = torch.log_softmax(model.decode_logits(text[None, :-1], z[None])[0], -1)
            return sum(scores[place, token] for place, token in enumerate(text[1:]))

        def log_prior(z):
            return Normal(0.0, 1.0).log_prob(z).sum()

        marginal = log_likelihood(z_for_marginal) + log_prior(z_for_marginal) - posterior.log_prob(z_for_marginal).sum()
        return -0.5 * (log_likelihood(z) + log_prior(z) + posterior.log_prob(z).sum() + marginal)

    batch = tokenizer()(TEXTS)
    texts = [row[mask.bool()] for row, mask in zip(batch["text"], batch["text_attention_mask"], strict=True)]
    ends = [((row == model.eos_id).nonzero().flatten().tolist() or [len(row)])[0] + 1 for row in generated[0]]
    bos = torch.tensor([model.bos_id])
    drawn = [torch.cat([bos, row[:end]]) for row, end in zip(generated[0], ends, strict=True)]
    encoded = [cross_entropy(*pair) for pair in zip(texts, latents[0], latents[1], strict=True)]
    decoded = [cross_entropy(*pair) for pair in zip(drawn, latents[2], latents[3], strict=True)]
    assert len(latents) == 4
    expected = (sum(encoded) + sum(decoded)) / (2 * len(TEXTS))
    assert loss.item() == pytest.approx(expected.item(), rel=1e-7)
