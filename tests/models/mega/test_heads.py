"""The heads: their losses, their weights on disk, tied and untied."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mmkit.models import mega
from mmkit.models.mega import MegaConfig
from tests.models.mega.tiny import DECODER, SIZES, tiny, tokens


LANGUAGE_MODELS = pytest.mark.parametrize(
    ("model_class", "settings", "head"),
    [("MegaForCausalLM", DECODER, "lm_head"), ("MegaForMaskedLM", {}, "mlm_head")],
    ids=["causal", "masked"],
)


def negative_log_likelihood(logits, labels):
    """Of each label that is not -100, by NumPy."""
    scores = logits.detach().double().numpy()
    log_probabilities = scores - np.log(np.exp(scores).sum(-1, keepdims=True))
    kept = labels.numpy() != -100
    return -log_probabilities[kept][np.arange(kept.sum()), labels.numpy()[kept]]


def test_causal_loss_is_that_of_the_next_token():
    model, ids = tiny("MegaForCausalLM", **DECODER), tokens(2, 6)
    labels = ids.clone()
    labels[0, :3] = -100
    outputs = model(ids, labels=labels)
    expected = negative_log_likelihood(outputs.logits[:, :-1], labels[:, 1:])
    assert outputs.loss.item() == pytest.approx(expected.mean(), rel=1e-9)
    assert outputs.past_key_values is None
    assert model(ids, labels=labels, num_items_in_batch=17).loss.item() == pytest.approx(expected.sum() / 17, rel=1e-9)


def test_masked_loss_is_that_of_the_masked_tokens():
    model, ids = tiny("MegaForMaskedLM"), tokens(2, 6)
    labels = torch.where(torch.arange(6) % 3 == 0, ids, -100)
    outputs = model(ids, labels=labels)
    expected = negative_log_likelihood(outputs.logits, labels)
    assert outputs.loss.item() == pytest.approx(expected.mean(), rel=1e-9)
    in_batch = torch.tensor(17)
    assert model(ids, labels=labels, num_items_in_batch=in_batch).loss.item() == pytest.approx(expected.sum() / 17, rel=1e-9)


@LANGUAGE_MODELS
def test_losses_of_parts_add_up_to_that_of_the_batch(model_class, settings, head):
    model, ids = tiny(model_class, **settings), tokens(4, 6)
    labels = ids.clone()
    labels[0, 1:] = -100
    num_labels = (labels[:, 1:] if head == "lm_head" else labels).ne(-100).sum()
    parts = [model(ids[rows], labels=labels[rows], num_items_in_batch=num_labels).loss for rows in (slice(0, 1), slice(1, 4))]
    torch.testing.assert_close(sum(parts), model(ids, labels=labels).loss)


@LANGUAGE_MODELS
def test_transformers_trainer_hands_the_number_of_items_over(model_class, settings, head):
    assert getattr(mega, model_class).accepts_loss_kwargs


def test_losses_of_half_precision_scores_are_computed_in_single_precision():
    model, ids = mega.MegaForMaskedLM(MegaConfig(**SIZES)).bfloat16(), tokens(2, 6)
    assert model(ids, labels=ids).loss.dtype == torch.float32


def test_scores_of_the_last_positions_only():
    model, ids = tiny("MegaForCausalLM", **DECODER), tokens(2, 6)
    logits = model(ids).logits
    torch.testing.assert_close(model(ids, logits_to_keep=2).logits, logits[:, -2:])
    torch.testing.assert_close(model(ids, logits_to_keep=torch.tensor([1, 3])).logits, logits[:, [1, 3]])


@LANGUAGE_MODELS
@pytest.mark.parametrize("dense", [True, False], ids=["dense", "plain"])
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_language_models_survive_saving(model_class, settings, head, dense, tied, tmp_path):
    model = tiny(model_class, **settings, tie_word_embeddings=tied, add_lm_hidden_dense_layer=dense)
    assert (getattr(model, head).weight is model.get_input_embeddings().weight) == tied
    model.save_pretrained(tmp_path)
    again, report = getattr(mega, model_class).from_pretrained(tmp_path, output_loading_info=True, dtype=torch.float64)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert (getattr(again, head).weight is again.get_input_embeddings().weight) == tied
    torch.testing.assert_close(again.eval()(tokens(2, 6)).logits, model(tokens(2, 6)).logits)


@LANGUAGE_MODELS
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("vocab_size", [30, 20], ids=["more", "fewer"])
def test_the_vocabulary_can_be_resized(model_class, settings, head, tied, vocab_size):
    model, ids = tiny(model_class, **settings, tie_word_embeddings=tied), tokens(2, 6).clamp(max=19)
    before = model(ids).logits
    model.resize_token_embeddings(vocab_size)
    after = model(ids, labels=ids)
    common = min(23, vocab_size)
    torch.testing.assert_close(after.logits[..., :common], before[..., :common])
    assert (after.logits.shape[-1], model.config.vocab_size) == (vocab_size, vocab_size)
    assert (getattr(model, head).weight is model.get_input_embeddings().weight) == tied


CLASSES = ("single_label_classification", 3, torch.tensor([2, 0]), F.cross_entropy)
LABELS = ("multi_label_classification", 3, torch.tensor([[0.0, 1, 1], [1, 0, 0]]), F.binary_cross_entropy_with_logits)
NUMBER = ("regression", 1, torch.tensor([0.3, 2.0]), lambda logits, labels: F.mse_loss(logits[:, 0], labels))
NUMBERS = (
    "regression",
    3,
    torch.tensor([[0.3, -1.0, 2.0], [0.0, 1.5, -0.2]]),
    F.mse_loss,
)  # to be told: they look like several labels


@pytest.mark.parametrize(
    ("problem", "num_labels", "labels", "expected", "told"),
    [(*case, told) for told in (True, False) for case in (CLASSES, LABELS, NUMBER)] + [(*NUMBERS, True)],
    ids=[f"{name}-{told}" for told in ("told", "guessed") for name in ("classes", "several labels", "a number")]
    + ["numbers-told"],
)
def test_classification_takes_the_loss_of_its_problem(problem, num_labels, labels, expected, told):
    model = tiny("MegaForSequenceClassification", num_labels=num_labels, problem_type=problem if told else None)
    labels = labels.double() if labels.is_floating_point() else labels
    outputs = model(tokens(2, 6), labels=labels)
    torch.testing.assert_close(outputs.loss, expected(outputs.logits, labels))
    assert model.config.problem_type == (problem if told else None)


def test_classification_and_choice_read_the_first_real_token():
    ids = tokens(2, 6)
    padded, mask = F.pad(ids, (3, 0), value=1), F.pad(torch.ones_like(ids), (3, 0))
    for model_class, add in (("MegaForSequenceClassification", None), ("MegaForMultipleChoice", 0)):
        model = tiny(model_class)
        if add is None:
            torch.testing.assert_close(model(padded, attention_mask=mask).logits, model(ids).logits)
        else:
            torch.testing.assert_close(model(padded[None], attention_mask=mask[None]).logits, model(ids[None]).logits)


def test_choices_are_scored_one_by_one():
    model, ids = tiny("MegaForMultipleChoice"), tokens(6, 5).view(2, 3, 5)
    mask = torch.ones_like(ids)
    mask[..., -1:] = 0
    outputs = model(ids, attention_mask=mask, labels=torch.tensor([2, 0]))
    alone = torch.stack([model(ids[:, i : i + 1], attention_mask=mask[:, i : i + 1]).logits[:, 0] for i in range(3)], 1)
    torch.testing.assert_close(outputs.logits, alone)
    torch.testing.assert_close(outputs.loss, F.cross_entropy(alone, torch.tensor([2, 0])))
    vectors = model.get_input_embeddings()(ids)
    torch.testing.assert_close(model(inputs_embeds=vectors, attention_mask=mask).logits, outputs.logits)


def test_token_labels_of_minus_100_do_not_count():
    model, ids = tiny("MegaForTokenClassification"), tokens(2, 6)
    labels = ids % 3
    labels[:, ::2] = -100
    outputs = model(ids, labels=labels)
    assert outputs.loss.item() == pytest.approx(negative_log_likelihood(outputs.logits, labels).mean(), rel=1e-9)


def test_answers_outside_the_sequence_do_not_count():
    model, ids = tiny("MegaForQuestionAnswering", num_labels=2), tokens(2, 6)
    outputs = model(ids, start_positions=torch.tensor([1, 99]), end_positions=torch.tensor([[3], [5]]))
    start = negative_log_likelihood(outputs.start_logits[:1], torch.tensor([1])).mean()
    end = negative_log_likelihood(outputs.end_logits, torch.tensor([3, 5])).mean()
    assert outputs.loss.item() == pytest.approx((start + end) / 2, rel=1e-9)


def test_an_answer_needs_two_labels():
    with pytest.raises(ValueError, match="Give num_labels=2"):
        tiny("MegaForQuestionAnswering", num_labels=3)


@pytest.mark.parametrize(
    ("model_class", "settings", "message"),
    [
        ("MegaForCausalLM", {}, "sees the tokens it predicts"),
        ("MegaForMaskedLM", DECODER, "sees the past only"),
        ("MegaForSequenceClassification", DECODER, "reads the first token"),
    ],
)
def test_a_head_on_the_wrong_kind_of_model_warns(model_class, settings, message, monkeypatch):
    said = []
    module = __import__(getattr(mega, model_class).__module__, fromlist=["logger"])
    monkeypatch.setattr(module.logger, "warning", said.append)
    tiny(model_class, **settings)
    assert message in said[0]


@pytest.mark.parametrize("model_class", [name for name in mega.__all__ if name.startswith("MegaFor")])
def test_heads_give_tuples_without_return_dict(model_class):
    settings = DECODER if "Causal" in model_class else {}
    model = tiny(model_class, **settings, num_labels=2)
    ids = tokens(2, 6)[:, None] if "Choice" in model_class else tokens(2, 6)
    outputs, as_tuple = model(ids), model(ids, return_dict=False)
    assert isinstance(as_tuple, tuple)
    torch.testing.assert_close(as_tuple[0], outputs[0])


def test_all_positions_are_scored_where_there_are_labels():
    model, ids = tiny("MegaForCausalLM", **DECODER), tokens(2, 5)
    few, all_of_them = (model(input_ids=ids, labels=ids, logits_to_keep=kept) for kept in (1, 0))
    assert few.logits.shape[1] == 5
    assert few.loss == all_of_them.loss
    assert model(input_ids=ids, logits_to_keep=1).logits.shape[1] == 1
