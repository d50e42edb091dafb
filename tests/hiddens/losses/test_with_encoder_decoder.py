"""Losses that decode, on a real model of texts."""

import pytest
import torch

from tests.tasks.tiny_autoencoders import GAUSSIAN, TEXTS, task_of, tokenizer


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
