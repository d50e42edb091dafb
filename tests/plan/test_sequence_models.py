"""Plans of tasks on one sequence model."""

import pytest
import torch
from torch.utils.data import Dataset

from mmkit.datasets.core import Example
from mmkit.plan import make_plan
from tests.plan.parts import BYTES, target


class Ids(Dataset):
    """Token ids up to a largest one, perhaps with a class."""

    def __init__(self, has_class: bool = False):
        self.has_class = has_class

    @staticmethod
    def example_spec(has_class=False):
        return Example({"example_index": 0, "text": torch.full((12,), 259), **({"text_target": 1} if has_class else {})})


SMALL = {"vocab_size": 260, "hidden_size": 8, "num_hidden_layers": 1, "intermediate_size": 8, "nffn_hidden_size": 8}
MEGA = target("mmkit.models.mega_with_head.MegaWithHead", head="causal_lm", bidirectional=False, is_decoder=True, **SMALL)
GPT2 = {"model_type": "gpt2", "vocab_size": 260, "n_embd": 8, "n_layer": 1, "n_head": 2, "eos_token_id": 2, "bos_token_id": 1}
HF = target("mmkit.models.hf_model.HFModel", head="causal_lm", config=GPT2)
OPTIMIZER = target("torch.optim.AdamW", _partial_=True, lr=0.001)
TEXTS = target("tests.tasks.texts.OnlyTexts")
IDS = target("tests.plan.test_sequence_models.Ids")


def collator(**processors):
    return target("mmkit.datasets.core.DefaultDataCollator", batch_processors=processors)


@pytest.fixture
def plan_of(experiment):
    def plan_of(model=MEGA, data=IDS, changes=None, task="mmkit.tasks.CausalLanguageModeling", **arguments):
        task = target(task, model=model, optimizer=OPTIMIZER, **arguments)
        data = {"datasets.train": {"ids": data}, "datasets.val": {}}
        return make_plan(experiment({"task": task, **data, "dataloader.train.collate_fn": collator(), **(changes or {})}))

    return plan_of


@pytest.mark.parametrize("model", [MEGA, HF], ids=["mega", "gpt2"])
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_step_is_followed_to_its_end(plan_of, model, precision):
    plan = plan_of(model, changes={"trainer.precision": precision})
    assert (plan.mismatches, plan.unknowns) == ([], [])
    row = next(row for row in plan.rows if row.key == "task.model")
    assert row.output == (8, 12, 260)
    assert plan.memory.peak
    assert plan.flops


def test_gradient_checkpointing_needs_less_memory(plan_of):
    deep = {**MEGA, "num_hidden_layers": 6, "vocab_size": 260}
    plain, less = (plan_of(deep, gradient_checkpointing=value).memory.activations for value in (False, True))
    assert less < plain


@pytest.mark.parametrize(
    ("model", "key"),
    [
        pytest.param({**MEGA, "vocab_size": 100}, "task.model.vocab_size=100 does not match the 260 ids of {}.", id="mega"),
        pytest.param(
            {**HF, "config": {**GPT2, "vocab_size": 100}},
            "task.model.config.vocab_size=100 does not match the 260 ids of {}.",
            id="gpt2",
        ),
    ],
)
def test_too_small_a_vocabulary_is_named_with_where_its_ids_come_from(plan_of, model, key):
    tokenizer = "dataloader.train.collate_fn.batch_processors.text"
    [of_data] = plan_of(model).mismatches
    assert of_data.message.startswith(key.format("datasets.train.ids"))
    [of_tokenizer] = plan_of(model, TEXTS, {"dataloader.train.collate_fn": collator(text=BYTES)}).mismatches
    assert of_tokenizer.message.startswith(key.format(tokenizer))


def test_text_without_a_tokenizer_and_an_absent_modality_are_named(plan_of):
    [untokenized] = plan_of(data=TEXTS).mismatches
    assert "task.model reads 'text' as a tensor" in untokenized.message
    assert "add a tokenizer as dataloader.train.collate_fn.batch_processors.text" in untokenized.message
    [absent] = plan_of(modality="audio").mismatches
    assert absent.message.startswith("task.model reads 'audio', which datasets.train.ids does not give")


def test_classification_and_masking_are_followed(plan_of):
    classifier = {**MEGA, "head": "sequence_classification", "bidirectional": True, "is_decoder": False, "num_labels": 3}
    plan = plan_of(classifier, {**IDS, "has_class": True}, task="mmkit.tasks.SequenceClassification")
    assert (plan.mismatches, plan.unknowns) == ([], [])
    masks = target("mmkit.datasets.masking.RandomMaskGenerator", mask_token_id=3, vocab_size=260)
    both = target("mmkit.datasets.transforms.Compose", transforms=[BYTES, masks])
    masked = {**MEGA, "head": "masked_lm", "bidirectional": True, "is_decoder": False}
    processors = {"dataloader.train.collate_fn": collator(text=both)}
    plan = plan_of(masked, TEXTS, processors, task="mmkit.tasks.MaskedLanguageModeling")
    assert (plan.mismatches, plan.unknowns) == ([], [])
