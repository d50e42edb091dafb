"""Parts of a configuration that compose and do not fit together: each is named by its keys and values."""

import pytest

from mmkit.plan import make_plan
from tests.plan.parts import BYTES, ENCODERS, EXPERIMENT, HERE, LAYERS, PICTURES, target


RGB, TEXT = "task.encoders.rgb", "task.encoders.text"
PROCESSORS = "dataloader.train.collate_fn.batch_processors"
IDENTITY = target(f"{ENCODERS}.IdentityEncoder", modality="text")
FEATURES = target(
    "mmkit.datasets.encoded.EncodedDataset",
    dataset=PICTURES,
    encoders={"text": EXPERIMENT["task"]["encoders"]["text"]},
    batch_processors={"text": BYTES},
)
RETRIEVAL = "task.evaluation_tasks.retrieval.task"
MONITOR = "exp_manager.checkpoint_callback_params.monitor"
OTHER_SIZE = target(f"{HERE}.Pictures", side=16)
NO_TEXT = target(f"{HERE}.Pictures", captions=False)

# Change, and what the plan says of it.
PLANTED = {
    "head behind an encoder": (
        {"task.heads.text.in_dim": 32},
        "task.heads.text.in_dim=32 does not match task.encoders.text.width=24.",
    ),
    "head behind a norm": (
        {"task.heads.rgb.mlp.in_dim": 20},
        "task.heads.rgb.mlp.in_dim=20 does not match task.heads.rgb.norm.normalized_shape=16.",
    ),
    "norm behind an encoder": (
        {"task.heads.rgb.norm.normalized_shape": 17},
        "task.heads.rgb.norm.normalized_shape=17 does not match task.encoders.rgb.widths=16.",
    ),
    "batch norm": (
        {"task.heads.rgb.norm": target("torch.nn.BatchNorm1d", num_features=18)},
        "task.heads.rgb.norm.num_features=18 does not match task.encoders.rgb.widths=16.",
    ),
    "embeddings of a pair": (
        {"task.heads.text.out_dim": 14},
        "task.heads.text.out_dim=14 does not match task.heads.rgb.mlp.out_dim=12: the loss compares rgb with text.",
    ),
    "embeddings of a pair without heads": (
        {"task.heads": None},
        "task.encoders.text.width=24 does not match task.encoders.rgb.widths=16: the loss compares rgb with text.",
    ),
    "head of a project": (
        {"task.heads.text": target(f"{HERE}.Picky", input_dim=25, proj_dim=12)},
        "task.heads.text.input_dim=25 does not match task.encoders.text.width=24.",
    ),
    "projection of a project before a head": (
        {
            "task.heads.text": {
                "projection": target(f"{HERE}.Picky", input_dim=24, proj_dim=10),
                "mlp": target(f"{LAYERS}.MLP", in_dim=11, out_dim=12),
            }
        },
        "task.heads.text.mlp.in_dim=11 does not match task.heads.text.projection.proj_dim=10.",
    ),
    "channels of the pictures": (
        {"datasets.train.pictures.channels": 4, "task.encoders.rgb.normalization": "half"},
        "task.encoders.rgb.in_channels=3 does not match the 4 of datasets.train.pictures.",
    ),
    "channels of the encoder": (
        {"task.encoders.rgb.in_channels": 1},
        "task.encoders.rgb.in_channels=1 does not match the 3 of datasets.train.pictures.",
    ),
    "channels of the normalisation": (
        {"datasets.train.pictures.channels": 1, "task.encoders.rgb.in_channels": 1},
        "the 3 that task.encoders.rgb takes does not match the 1 of datasets.train.pictures.",
    ),
    "vocabulary": (
        {"task.encoders.text.vocab_size": 100},
        f"task.encoders.text.vocab_size=100 does not match the 260 ids of {PROCESSORS}.text.",
    ),
    "length of the texts": (
        {f"{PROCESSORS}.text.max_length": 128, f"{PROCESSORS}.text.padding": "max_length"},
        "task.encoders.text: A text of 128 tokens is longer than the 64 that TextTransformer takes.",
    ),
    "text without a tokenizer": (
        {PROCESSORS: None},
        f"task.encoders.text reads 'text' as a tensor, but datasets.train.pictures gives text: add a tokenizer as {PROCESSORS}",
    ),
    "tokenizer under a wrong key": (
        {f"{PROCESSORS}.caption": BYTES},
        f"{PROCESSORS}.caption has nothing to process: the data gives rgb, rgb_target, text.",
    ),
    "tokenizer that writes another key": (
        {f"{PROCESSORS}.text.modality": "audio"},
        f"{PROCESSORS}.text.modality=audio does not match its key: it writes 'audio', not 'text'.",
    ),
    "modality that the data lacks": (
        {"datasets.train.pictures": NO_TEXT},
        "task.encoders.text reads 'text', which datasets.train.pictures does not give (it gives: rgb, rgb_target).",
    ),
    "data sets of two sizes": (
        {"datasets.train.small": OTHER_SIZE},
        "'rgb' of datasets.train.small is (3, 16, 16), which does not match the (3, 32, 32) of datasets.train.pictures",
    ),
    "pair with a modality that has no encoder": (
        {"task.modality_loss_pairs": [{"modalities": ["rgb", "audio"]}]},
        "task.modality_loss_pairs.0 names 'audio', which has no encoder in task.encoders. There are: rgb, text.",
    ),
    "pair with a misspelt modality": (
        {"task.modality_loss_pairs": [{"modalities": ["rgb", "texts"]}]},
        "task.modality_loss_pairs.0 names 'texts', which has no encoder in task.encoders. Did you mean text?",
    ),
    "head of no modality": (
        {"task.heads.depth": target(f"{LAYERS}.MLP", in_dim=3)},
        "task.heads.depth belongs to no modality of task.encoders. There are: rgb, text.",
    ),
    "mapping to a head that is not there": (
        {"task.modality_module_mapping": {"rgb": {"head_key": "picture"}}},
        "task.modality_module_mapping.rgb.head_key=picture: there is no task.heads.picture. There are: rgb, text.",
    ),
    "auxiliary task of a modality without an encoder": (
        {"task.auxiliary_tasks": {"extra": {"modality": "audio"}}},
        "task.auxiliary_tasks.extra.modality=audio has no encoder in task.encoders. There are: rgb, text.",
    ),
    "tokens without a pooling": (
        {"task.encoders.text.pooling": "none"},
        "task.encoders.text: The embedding of 'text' has the shape (8, 24, 12); it must be (batch, dim).",
    ),
    "heads that do not divide the width": (
        {"task.encoders.text.num_heads": 5},
        "task.encoders.text: num_heads=5 must divide the embedding size 24.",
    ),
    "evaluation of a modality without an encoder": (
        {f"{RETRIEVAL}.task_specs": [{"query_modality": "depth", "target_modality": "rgb", "top_k": [1]}]},
        f"{RETRIEVAL} reads the embedding of 'depth', but task.encoders and datasets.val.pictures give those of: rgb, text.",
    ),
    "evaluation of a modality that the validation lacks": (
        {"datasets.val.pictures": NO_TEXT},
        f"{RETRIEVAL} reads the embedding of 'text', but task.encoders and datasets.val.pictures give those of: rgb.",
    ),
    "monitor of no evaluation task": (
        {MONITOR: "val/search/text_to_rgb_mAP"},
        f"{MONITOR}=val/search/text_to_rgb_mAP is no metric of task.evaluation_tasks (there are: retrieval).",
    ),
    "monitor without validation": (
        {MONITOR: "val/loss", "datasets.val": None},
        f"{MONITOR}=val/loss, but datasets.val is empty: nothing is logged as val/….",
    ),
    "features behind an encoder of the data": (
        {"datasets.train.pictures": FEATURES, PROCESSORS: None, TEXT: IDENTITY, "task.heads.text.in_dim": 384},
        "task.heads.text.in_dim=384 does not match the 24 of datasets.train.pictures.encoders.text (through task.encoders.text).",
    ),
    "encoder of the data for what it lacks": (
        {"datasets.train.pictures": FEATURES | {"dataset": NO_TEXT}, PROCESSORS: None, TEXT: IDENTITY},
        "datasets.train.pictures: There is an encoder for 'text', but the data set does not give it (it gives:",
    ),
    "scheduler without steps": (
        {"task.lr_scheduler.scheduler.total_steps": -1},
        "task.lr_scheduler.scheduler: Expected positive integer total_steps, but got -1",
    ),
    "no optimizer": ({"task.optimizer": None}, "task.optimizer is null, but training needs one."),
    "no loss": ({"task.loss": None}, "task.loss is null, but training needs one."),
    "nothing to train": (
        {RGB: IDENTITY | {"modality": "rgb"}, TEXT: IDENTITY, "task.heads": None, "task.learnable_logit_scale": False},
        "task: no parameter is trainable, so there is nothing to optimize.",
    ),
    "batch of one behind a batch norm": (
        {"task.heads.rgb.norm": target("torch.nn.BatchNorm1d", num_features=16), "dataloader.train.batch_size": 1},
        "task.heads.rgb.norm: Expected more than 1 value per channel when training",
    ),
    "no data": ({"datasets.train": None}, "datasets.train is empty. Name a data set: /datasets@datasets.train.NAME: CLASS."),
    "missing value": ({"task.heads.text.in_dim": "???"}, "task.heads.text.in_dim has no value yet (???)."),
}


def test_an_experiment_that_fits_has_no_mismatches(experiment):
    plan = make_plan(experiment())
    assert (plan.mismatches, plan.unknowns, plan.assumptions) == ([], [], [])
    assert plan.memory.peak is not None
    assert plan.flops is not None


@pytest.mark.parametrize(("changes", "expected"), PLANTED.values(), ids=PLANTED)
def test_what_does_not_fit_is_named(changes, expected, experiment):
    messages = [mismatch.message for mismatch in make_plan(experiment(changes)).mismatches]
    assert [message.startswith(expected) for message in messages[:1]] == [True], messages


CHAIN = {"_target_": "mmkit.datasets.transforms.Compose", "transforms": [BYTES, {**BYTES, "padding": "none"}]}
BROKEN = target("mmkit.modules.encoders.TextTransformer", vocab_size=260, width=24, depth=1, num_heads=5)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({f"{PROCESSORS}.text": CHAIN}, f"{PROCESSORS}.text.transforms.1: Unknown padding 'none'"),
        ({TEXT: BROKEN, RGB: IDENTITY | {"modality": "rgb"}, "task.heads": None}, "task.encoders.text: num_heads=5 must divide"),
    ],
    ids=["in a chain of processors", "the only part that is trained"],
)
def test_what_fails_has_no_empty_or_false_answers_in_its_train(changes, expected, experiment):
    messages = [found.message for found in make_plan(experiment(changes | {"task.learnable_logit_scale": False})).mismatches]
    assert messages[0].startswith(expected)
    assert not [message for message in messages if message.endswith(": ") or "no parameter is trainable" in message]


def test_several_mismatches_come_in_one_answer(experiment):
    changes = {
        "task.heads.text.in_dim": 32,
        "task.heads.rgb.mlp.in_dim": 20,
        "task.heads.rgb.mlp.out_dim": 13,
        "task.encoders.rgb.in_channels": 1,
        "task.modality_module_mapping": {"rgb": {"head_key": "picture"}},
        MONITOR: "val/search/text_to_rgb_mAP",
    }
    messages = [mismatch.message for mismatch in make_plan(experiment(changes)).mismatches]
    assert len(messages) == len(changes), messages
