"""Causal and masked language modelling on models of transformers and on Mega, against NumPy."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader

from mmkit.models import HFModel
from mmkit.tasks import CausalLanguageModeling, MaskedLanguageModeling


GPT2 = {"model_type": "gpt2", "vocab_size": 13, "n_embd": 8, "n_layer": 2, "n_head": 2, "n_positions": 16}
BERT = {
    "model_type": "bert", "vocab_size": 13, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 8, "max_position_embeddings": 16,
}  # fmt: skip
MEGA = {
    "model_type": "mega", "vocab_size": 13, "hidden_size": 8, "num_hidden_layers": 2, "intermediate_size": 8,
    "nffn_hidden_size": 8, "ema_projection_size": 2, "shared_representation_size": 4,
}  # fmt: skip
CAUSAL = {"gpt2": GPT2, "mega": {**MEGA, "is_decoder": True, "bidirectional": False}}
MASKED = {"bert": BERT, "mega": MEGA}
LENGTH = 6


def batches(num=3, targets=False, seed=0):
    """Batches of different numbers of real tokens."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for size in range(1, num + 1):
        ids = torch.randint(3, 13, (2, LENGTH), generator=generator)
        mask = (torch.arange(LENGTH) < torch.tensor([LENGTH, size + 1])[:, None]).long()
        batch = {"text": ids, "text_attention_mask": mask}
        if targets:
            batch["text_target"] = torch.where(torch.rand(ids.shape, generator=generator) < 0.5, ids, -100)
        found.append(batch)
    return found


def task_on(config, cls=CausalLanguageModeling, head="causal_lm", **arguments):
    torch.manual_seed(0)
    return cls(HFModel(head, config=dict(config)), optimizer=partial(torch.optim.AdamW, lr=0.01), **arguments)


def masked_task_on(config, **arguments):
    return task_on(config, MaskedLanguageModeling, "masked_lm", **arguments)


def trainer(**arguments):
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False, "enable_checkpointing": False}
    return Trainer(accelerator="cpu", devices=1, num_sanity_val_steps=0, **quiet, **arguments)


def fit(task, data, num_epochs=1):
    loader = DataLoader(data, batch_size=None)
    trainer(log_every_n_steps=1, max_epochs=num_epochs).fit(task, loader, loader)


def validated(task, data):
    [metrics] = trainer().validate(task, DataLoader(data, batch_size=None), verbose=False)
    return metrics


def log_probabilities(logits):
    x = logits.double().numpy()
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


@torch.no_grad()
def expected_causal(task, data):
    """Negative log-likelihood, hits and number of the tokens after the first, one by one."""
    nll, hits, tokens = 0.0, 0, 0
    for batch in data:
        scores = log_probabilities(task(batch))
        for row in range(len(batch["text"])):
            for t in range(1, int(batch["text_attention_mask"][row].sum())):
                right = int(batch["text"][row, t])
                nll, hits, tokens = nll - scores[row, t - 1, right], hits + (scores[row, t - 1].argmax() == right), tokens + 1
    return nll, hits, tokens


@pytest.mark.parametrize("config", CAUSAL.values(), ids=CAUSAL)
def test_metrics_are_those_of_all_tokens_at_once(config):
    task, data = task_on(config, bytes_per_token=1).eval(), batches()
    nll, hits, tokens = expected_causal(task, data)
    metrics = validated(task, data)
    assert metrics["val/loss"] == pytest.approx(nll / tokens, rel=1e-5)
    assert metrics["val/perplexity"] == pytest.approx(math.exp(nll / tokens), rel=1e-5)
    assert metrics["val/bits_per_byte"] == pytest.approx(nll / tokens / math.log(2), rel=1e-5)
    assert metrics["val/accuracy"] == pytest.approx(hits / tokens, rel=1e-5)


@pytest.mark.parametrize("config", CAUSAL.values(), ids=CAUSAL)
def test_loss_of_a_step_is_the_mean_over_its_predicted_tokens(config):
    task, [batch] = task_on(config).eval(), batches(1)
    nll, _, tokens = expected_causal(task, [batch])
    task.log_step = lambda *args, **kwargs: None
    assert task.training_step(batch, 0).item() == pytest.approx(nll / tokens, rel=1e-5)


def test_causal_labels_are_the_next_ids_without_padding():
    task = task_on(GPT2)
    batch = {"text": torch.tensor([[5, 6, 7]]), "text_attention_mask": torch.tensor([[1, 1, 0]])}
    assert task.labels(batch).tolist() == [[6, -100, -100]]
    batch["text_target"] = torch.tensor([[-100, 8, 9]])
    assert task.labels(batch).tolist() == [[8, -100, -100]]


@pytest.mark.parametrize("key", ["text", "text_target"])
def test_nothing_is_predicted_from_padding_on_the_left(key):
    batch = {"text": torch.tensor([[0, 0, 6, 7]]), "text_attention_mask": torch.tensor([[0, 0, 1, 1]])}
    batch[key] = torch.tensor([[4, 5, 6, 7]])
    assert task_on(GPT2).labels(batch).tolist() == [[-100, -100, 7, -100]]


@pytest.mark.parametrize("config", MASKED.values(), ids=MASKED)
def test_masked_metrics_are_those_of_the_hidden_tokens(config):
    task, data = masked_task_on(config).eval(), batches(targets=True)
    chosen = []
    for batch in data:
        with torch.no_grad():
            scores = log_probabilities(task(batch))
        labels = torch.where(batch["text_attention_mask"].bool(), batch["text_target"], -100)
        for row, t in (labels >= 0).nonzero().tolist():
            right = int(labels[row, t])
            chosen.append((-scores[row, t, right], scores[row, t].argmax() == right))
    nll, hits = (float(np.mean([pair[i] for pair in chosen])) for i in (0, 1))
    metrics = validated(task, data)
    assert metrics["val/perplexity"] == pytest.approx(math.exp(nll), rel=1e-5)
    assert (metrics["val/loss"], metrics["val/accuracy"]) == (pytest.approx(nll, rel=1e-5), pytest.approx(hits, rel=1e-5))
    assert "val/bits_per_byte" not in metrics


def test_masked_modelling_says_what_makes_targets():
    with pytest.raises(ValueError, match=r"needs 'text_target'.* Put a RandomMaskGenerator behind the tokenizer"):
        masked_task_on(BERT).labels(batches(1)[0])


def test_bytes_come_from_the_batch_a_table_or_nowhere():
    batch = batches(1)[0]
    task = task_on(GPT2)
    labels = task.labels(batch)
    assert task.num_bytes(batch, labels) is None
    assert task.num_bytes({**batch, "text_num_bytes": torch.tensor([7, 3])}, labels) == 10
    table = [0, 0, 0, *range(1, 11)]
    expected = sum(table[label] for label in labels.flatten().tolist() if label >= 0)
    assert task_on(GPT2, bytes_per_token=table).num_bytes(batch, labels) == expected
    assert task_on(GPT2, bytes_per_token=2).num_bytes(batch, labels) == 2 * (labels >= 0).sum()


@pytest.mark.parametrize("config", [GPT2, CAUSAL["mega"]], ids=["gpt2", "mega"])
def test_gradient_checkpointing_changes_neither_loss_nor_gradients(config):
    results = []
    for gradient_checkpointing in (False, True):
        task = task_on(config, gradient_checkpointing=gradient_checkpointing).train()
        task.log_step = lambda *args, **kwargs: None
        torch.manual_seed(1)  # dropout
        loss = task.training_step(batches(1)[0], 0)
        loss.backward()
        results.append((loss.detach(), {name: p.grad for name, p in task.named_parameters()}))
    (loss, gradients), (again, other) = results
    assert torch.equal(loss, again)
    for name, gradient in gradients.items():
        torch.testing.assert_close(other[name], gradient, rtol=1e-5, atol=1e-7)


def test_a_model_without_gradient_checkpointing_is_refused():
    class Model(torch.nn.Linear):
        pass

    with pytest.raises(ValueError, match=r"Model has no gradient checkpointing\. Set gradient_checkpointing=false"):
        CausalLanguageModeling(Model(2, 2), gradient_checkpointing=True)


@pytest.mark.parametrize("config", CAUSAL.values(), ids=CAUSAL)
def test_a_batch_without_anything_to_predict_has_no_gradient_and_no_nan(config):
    task = task_on(config)
    task.log_step = lambda *args, **kwargs: None
    batch = {"text": torch.tensor([[5, 6]]), "text_target": torch.full((1, 2), -100)}
    loss = task.training_step(batch, 0)
    loss.backward()
    assert loss.item() == 0
    assert all(p.grad is None or not p.grad.any() for p in task.parameters())
    assert validated(task, [batch]) == {}


def test_label_smoothing_is_in_the_loss_and_not_in_perplexity():
    data = batches()
    plain, smooth = (validated(task_on(GPT2, label_smoothing=s), data) for s in (0.0, 0.2))
    assert smooth["val/perplexity"] == plain["val/perplexity"] == pytest.approx(math.exp(plain["val/loss"]))
    assert smooth["val/loss"] != plain["val/loss"]


def test_training_logs_ratios_of_sums_over_the_window():
    task, data = task_on(GPT2, bytes_per_token=1), batches(2)
    task.optimizer = partial(torch.optim.SGD, lr=0.0)
    for module in task.modules():
        module.p = 0.0  # of dropout: every step sees one model
    nll, hits, tokens = expected_causal(task, data)
    fit(task, data)
    logged = {name: float(value) for name, value in task.trainer.callback_metrics.items()}
    assert logged["train/loss"] == pytest.approx(nll / tokens, rel=1e-5)
    assert logged["train/perplexity"] == pytest.approx(math.exp(nll / tokens), rel=1e-5)
    assert logged["train/bits_per_byte"] == pytest.approx(nll / tokens / math.log(2), rel=1e-5)
    assert logged["train/accuracy"] == pytest.approx(hits / tokens, rel=1e-5)


CHUNKED = {**CAUSAL["mega"], "use_chunking": True, "chunk_size": 4}


@pytest.mark.parametrize(
    "config",
    [
        pytest.param({**GPT2, "n_layer": 1}, id="gpt2"),
        pytest.param({**CAUSAL["mega"], "num_hidden_layers": 1}, id="mega", marks=pytest.mark.slow),
        pytest.param({**CHUNKED, "num_hidden_layers": 1}, id="chunked mega", marks=pytest.mark.slow),
    ],
)
def test_a_compiled_task_trains_without_compiling_again_for_every_step(config):
    task = task_on(config)
    data = [{"text": batch["text"]} for batch in batches(3)]
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    fit(torch.compile(task, backend="eager"), data, num_epochs=4)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] <= 4


def test_a_compiled_task_is_evaluated_without_compiling_again_for_every_batch():
    data = [{"text": batch["text"]} for batch in batches(6)]
    task, num_graphs = task_on({**GPT2, "n_layer": 1}), []
    for num_batches in (2, 6):
        torch._dynamo.reset()
        torch._dynamo.utils.counters.clear()
        validated(torch.compile(task, backend="eager"), data[:num_batches])
        num_graphs.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])
    assert 0 < num_graphs[0] == num_graphs[1]
