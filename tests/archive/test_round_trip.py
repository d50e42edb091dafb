import json
import logging
import pickle
import subprocess
import sys

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

import mmkit
from mmkit.archive import build, open_archive
from mmkit.conf import external_store
from mmkit.errors import MMKitError, RefusedError, UsageError
from mmkit.tasks.base import TrainingTask
from mmkit.tasks.contrastive_pretraining import ContrastivePretraining
from mmkit.tasks.zero_shot_retrieval import ZeroShotCrossModalRetrieval
from tests.archive import parts


pytestmark = pytest.mark.usefixtures("registered_parts")
PARTS = "tests.archive.parts"


def equal(first, second):
    return list(first) == list(second) and all(torch.equal(first[name], second[name]) for name in first)


def test_restored_task_embeds_the_same_to_the_bit(task, tmp_path, embed):
    restored = TrainingTask.restore_from(task.save_to(tmp_path / "clip.mmkit"))
    assert equal(embed(task), embed(restored))
    assert equal(task.state_dict(), restored.state_dict())


IN_A_FRESH_PROCESS = """
import sys, torch
from mmkit.tasks.base import TrainingTask
batch = torch.load(sys.argv[2], weights_only=True)
with torch.no_grad():
    torch.save(TrainingTask.restore_from(sys.argv[1]).eval()(batch), sys.argv[2])
"""


def test_restored_task_embeds_the_same_in_a_fresh_process(task, tmp_path, batch, embed):
    path, tensors = task.save_to(tmp_path / "clip.mmkit"), tmp_path / "tensors.pt"
    torch.save(batch, tensors)
    subprocess.run([sys.executable, "-c", IN_A_FRESH_PROCESS, str(path), str(tensors)], check=True)
    assert equal(embed(task), torch.load(tensors, weights_only=True))


def test_restored_task_has_optimizer_scheduler_and_evaluation_tasks(task, tmp_path):
    restored = ContrastivePretraining.restore_from(task.save_to(tmp_path / "clip.mmkit"))
    optimizer, scheduler = restored.configure_optimizers()["optimizer"], restored.lr_scheduler["scheduler"]
    assert optimizer.defaults["lr"] == 0.01
    assert scheduler.keywords == {"step_size": 3}
    assert isinstance(restored.evaluation_tasks["retrieval"], ZeroShotCrossModalRetrieval)


def test_two_saves_and_a_save_of_the_restored_task_are_equal_to_the_byte(task, tmp_path):
    first = task.save_to(tmp_path / "a.mmkit").read_bytes()
    assert task.save_to(tmp_path / "b.mmkit").read_bytes() == first
    assert TrainingTask.restore_from(tmp_path / "a.mmkit").save_to(tmp_path / "c.mmkit").read_bytes() == first


def test_suffix_is_added_and_an_older_file_is_replaced(task, tmp_path):
    (tmp_path / "clip.mmkit").write_text("old")
    assert task.save_to(tmp_path / "clip") == tmp_path / "clip.mmkit"
    TrainingTask.restore_from(tmp_path / "clip.mmkit")
    assert [file.name for file in tmp_path.iterdir()] == ["clip.mmkit"]


def test_tied_weights_are_stored_once_and_stay_tied(tmp_path):
    task = build({"_target_": f"{PARTS}.Task"})
    path = task.save_to(tmp_path / "a.mmkit")
    with open_archive(path) as archive:
        assert archive.manifest.aliases == {"output.weight": "embedding.weight"}
    restored = TrainingTask.restore_from(path)
    assert restored.output.weight is restored.embedding.weight
    assert torch.equal(restored.output.weight, task.output.weight)


def test_views_of_one_tensor_are_stored_each(tmp_path):
    task = build({"_target_": f"{PARTS}.Task"})
    base = torch.arange(8.0)
    task.register_buffer("head", base[:4])
    task.register_buffer("tail", base[4:])
    task.register_buffer("both", base.view(2, 4).t())
    with pytest.raises(RefusedError, match="Without a place in the task: both, head, tail"):
        TrainingTask.restore_from(task.save_to(tmp_path / "a.mmkit"))


def test_types_of_the_weights_are_restored(task, tmp_path):
    restored = TrainingTask.restore_from(task.bfloat16().save_to(tmp_path / "a.mmkit"))
    assert equal(task.state_dict(), restored.state_dict())
    assert {parameter.dtype for parameter in restored.parameters()} == {torch.bfloat16}


def test_restoring_leaves_the_random_state_alone(task, tmp_path):
    path = task.save_to(tmp_path / "a.mmkit")
    before = torch.get_rng_state()
    TrainingTask.restore_from(path)
    assert torch.equal(torch.get_rng_state(), before)


def test_map_location_is_the_device_of_the_task(task, tmp_path):
    assert TrainingTask.restore_from(task.save_to(tmp_path / "a.mmkit"), map_location="meta").log_logit_scale.is_meta


def test_names_in_the_file_are_those_of_the_registry(task, tmp_path):
    config = TrainingTask.restore_from(task.save_to(tmp_path / "a.mmkit"), return_config=True)
    assert OmegaConf.is_config(config)
    assert config.heads.rgb.norm._target_ == "torch.nn.modules.normalization.LayerNorm"
    assert config.encoders.text._target_ == "mmkit.modules.encoders.text_transformer.TextTransformer"
    assert config.optimizer.lr == 0.01


def test_configuration_is_resolved_when_it_is_set(config):
    whole = OmegaConf.create({"steps": 7, "task": {**config, "max_logit_scale": "${steps}"}})
    task = build(whole.task)
    assert task.config.max_logit_scale == 7
    task.config = whole.task
    assert task.config == OmegaConf.create({**config, "max_logit_scale": 7})


def test_task_without_a_configuration_says_what_to_do(tmp_path):
    with pytest.raises(UsageError, match=r"mmkit\.archive\.build\(config\)"):
        parts.Task().save_to(tmp_path / "a.mmkit")


def test_task_built_in_python_is_savable_once_it_has_its_configuration(tmp_path):
    task = parts.Task(width=4)
    task.config = {"_target_": f"{PARTS}.Task", "width": 4}
    assert equal(TrainingTask.restore_from(task.save_to(tmp_path / "a.mmkit")).state_dict(), task.state_dict())


@pytest.mark.parametrize("config", [3, "x", ["a"], {"a": 1}], ids=str)
def test_config_must_name_a_class(config):
    with pytest.raises(UsageError, match="_target_"):
        parts.Task().config = config


def test_provenance_is_kept(task, tmp_path):
    path = task.save_to(tmp_path / "a.mmkit", provenance={"run": "first", "revision": "abc"})
    with open_archive(path) as archive:
        assert archive.manifest.provenance == {
            "class": "mmkit.tasks.contrastive_pretraining.ContrastivePretraining",
            "mmkit": mmkit.__version__,
            "torch": torch.__version__,
            "run": "first",
            "revision": "abc",
        }


def test_unwritable_place_is_named_with_the_bytes_and_nothing_is_left(task, tmp_path):
    (tmp_path / "folder.mmkit").mkdir()
    (tmp_path / "folder.mmkit" / "x").touch()
    with pytest.raises(MMKitError, match=r"folder\.mmkit \([\d,]+ bytes\) cannot be written"):
        task.save_to(tmp_path / "folder.mmkit")
    assert [file.name for file in tmp_path.iterdir()] == ["folder.mmkit"]
    with pytest.raises(MMKitError, match="cannot be written"):
        task.save_to(tmp_path / "absent" / "a.mmkit")


def test_failed_save_leaves_the_older_archive(task, tmp_path, monkeypatch):
    path = task.save_to(tmp_path / "a.mmkit")
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(MMKitError, match="No space left"):
        task.save_to(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.mmkit"]


# override_config, strict


def test_override_config_changes_values(task, tmp_path):
    path = task.save_to(tmp_path / "a.mmkit")
    nested = {"loss": {"l2_normalize": False}, "optimizer.lr": 0.5, "evaluation_tasks": {"retrieval": None}}
    dotted = ["loss.l2_normalize=false", "optimizer.lr=0.5", "~evaluation_tasks.retrieval"]
    for override in (nested, dotted, OmegaConf.create(nested)):
        restored = TrainingTask.restore_from(path, override_config=override)
        assert restored.loss_fn.l2_normalize is False
        assert restored.optimizer.keywords["lr"] == 0.5
        assert not restored.evaluation_tasks
    assert restored.config.optimizer.lr == 0.5


def test_override_config_reaches_into_lists(task, tmp_path):
    path = task.save_to(tmp_path / "a.mmkit")
    override = ["evaluation_tasks.retrieval.task.task_specs.0.top_k=[1,2]"]
    config = TrainingTask.restore_from(path, override_config=override, return_config=True)
    assert config.evaluation_tasks.retrieval.task.task_specs[0].top_k == [1, 2]


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("loss=1", "list of texts"),
        (["loss"], "neither key=value"),
        (["~nothing"], "no 'nothing' to remove"),
        (["loss.l2_normalize.x=1"], "no"),
    ],
    ids=str,
)
def test_override_config_that_means_nothing_is_an_error(task, tmp_path, override, reason):
    with pytest.raises(UsageError, match=reason):
        TrainingTask.restore_from(task.save_to(tmp_path / "a.mmkit"), override_config=override)


def test_override_config_cannot_name_other_code_than_the_file(task, tmp_path):
    path = task.save_to(tmp_path / "a.mmkit")
    with pytest.raises(RefusedError, match=r"heads\.text names os\.system, which is not registered"):
        TrainingTask.restore_from(path, override_config={"heads.text._target_": "os.system"})


def test_missing_and_unexpected_tensors_are_reported(task, config, tmp_path, caplog):
    path = task.save_to(tmp_path / "a.mmkit")
    override = ["~heads.text", "heads.rgb.norm.bias=false"]
    with pytest.raises(RefusedError, match=r"Without a place in the task: .*model\.heads\.text.*strict=False"):
        TrainingTask.restore_from(path, override_config=override)
    with caplog.at_level(logging.WARNING):
        restored = TrainingTask.restore_from(path, strict=False, override_config=override)
    assert "without a place in the task: " in caplog.text
    assert torch.equal(restored.state_dict()["model.heads.rgb.1.weight"], task.state_dict()["model.heads.rgb.1.weight"])


def test_other_shapes_are_refused_even_when_not_strict(task, tmp_path):
    path = task.save_to(tmp_path / "a.mmkit")
    with pytest.raises(RefusedError, match=r"model\.heads\.text\.layers\.0\.weight has the shape \(8, 8\), the task \(5, 8\)"):
        TrainingTask.restore_from(path, strict=False, override_config={"heads.text.hidden_dim": 5})


# Registry, trust


def test_class_of_the_file_must_be_the_class_asked_for(task, tmp_path):
    with pytest.raises(RefusedError, match="no Task"):
        parts.Task.restore_from(task.save_to(tmp_path / "a.mmkit"))


def test_what_is_not_registered_is_trusted_by_its_exact_name(tmp_path, caplog):
    external_store.delete_entry("task", "ArchivedTask")
    with caplog.at_level(logging.WARNING):
        path = build({"_target_": f"{PARTS}.Task"}).save_to(tmp_path / "a.mmkit")
    assert f"restoring needs trust=['{PARTS}.Task']" in caplog.text
    with pytest.raises(
        RefusedError, match=r"import the project that registers it first, or pass trust=\['tests\.archive\.parts\.Task'\]"
    ):
        TrainingTask.restore_from(path)
    for wrong in (["tests.archive.parts"], [f"{PARTS}.*"], [f"{PARTS}.task"]):
        with pytest.raises(RefusedError, match="not registered"):
            TrainingTask.restore_from(path, trust=wrong)
    assert isinstance(TrainingTask.restore_from(path, trust=[f"{PARTS}.Task"]), parts.Task)
    with pytest.raises(TypeError, match="list of names"):
        TrainingTask.restore_from(path, trust=f"{PARTS}.Task")


def test_shipped_projects_are_named_in_the_message(tmp_path, config):
    config["heads"]["text"] = {"_target_": "projects.emoji_clip.gallery.Nothing"}
    task = parts.Task()
    task.config = {"_target_": f"{PARTS}.Task"}
    path = task.save_to(tmp_path / "a.mmkit")
    with pytest.raises(RefusedError, match=r"`import projects\.emoji_clip\.configs` first"):
        TrainingTask.restore_from(path, override_config={"reader": {"_target_": "projects.emoji_clip.gallery.Nothing"}})


def test_object_that_replaced_a_registered_one_is_refused(tmp_path, monkeypatch):
    path = build({"_target_": f"{PARTS}.Task"}).save_to(tmp_path / "a.mmkit")
    monkeypatch.setattr(parts, "Task", type("Task", (parts.Task,), {}))
    with pytest.raises(RefusedError, match="not the object that was registered"):
        TrainingTask.restore_from(path)


def test_hydra_zens_keywords_are_written_as_hydras(tmp_path):
    config = {
        "_target_": f"{PARTS}.Task",
        "reader": {"_target_": "torch.nn.GELU"},
        "settings": {
            "_target_": "hydra_zen.funcs.zen_processing",
            "_zen_target": "torch.nn.Linear",
            "_zen_partial": True,
            "_zen_exclude": ["meta"],
            "meta": 1,
            "in_features": 2,
        },
    }
    task = build(config)
    restored = TrainingTask.restore_from(task.save_to(tmp_path / "a.mmkit"))
    assert restored.settings.func is nn.Linear
    assert restored.settings.keywords == {"in_features": 2}


def test_functions_given_as_arguments_are_restored(tmp_path):
    layer = {"_target_": "torch.nn.TransformerEncoderLayer", "d_model": 2, "nhead": 1, "dim_feedforward": 2}
    layer["activation"] = {"_target_": "hydra_zen.funcs.get_obj", "path": "torch.nn.functional.relu"}
    task = build({"_target_": f"{PARTS}.Task", "reader": layer})
    restored = TrainingTask.restore_from(task.save_to(tmp_path / "a.mmkit"))
    assert restored.reader.activation is torch.nn.functional.relu


def test_nested_tasks_are_restored(tmp_path, config, embed):
    task = build({"_target_": f"{PARTS}.Task", "nested": config})
    restored = TrainingTask.restore_from(task.save_to(tmp_path / "a.mmkit"))
    assert equal(embed(task.nested), embed(restored.nested))


# Secrets and places


def test_secrets_are_left_out_and_named(tmp_path, caplog):
    config = {"_target_": f"{PARTS}.Task", "token": "hunter2", "path": "https://me:hunter2@example.org/x"}
    config["settings"] = {"api_key": "hunter2", "mask_token": "[MASK]", "empty_password": ""}
    with caplog.at_level(logging.WARNING):
        path = build(config).save_to(tmp_path / "a.mmkit")
    assert b"hunter2" not in path.read_bytes()
    with open_archive(path) as archive:
        assert archive.manifest.withheld == ["token", "path", "settings.api_key"]
    restored = TrainingTask.restore_from(path, override_config={"token": "hunter3"})
    assert (restored.token, restored.path) == ("hunter3", None)
    assert restored.settings == {"api_key": None, "mask_token": "[MASK]", "empty_password": ""}
    assert "settings.api_key" in caplog.text


def test_places_on_the_machine_must_be_confirmed(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        path = build({"_target_": f"{PARTS}.Task", "path": "/data/images"}).save_to(tmp_path / "a.mmkit")
    assert "path: '/data/images' is a place on this machine" in caplog.text
    with pytest.raises(RefusedError, match=r"path: '/data/images' is a place on this machine.*trust=.*override_config"):
        TrainingTask.restore_from(path)
    assert TrainingTask.restore_from(path, trust=["/data/images"]).path == "/data/images"
    assert TrainingTask.restore_from(path, override_config={"path": "/mnt/images"}).path == "/mnt/images"


def test_damaged_archive_is_never_restored(task, tmp_path):
    """One bit at a time, at 150 places over the whole file."""
    good = task.save_to(tmp_path / "good.mmkit").read_bytes()
    refused = 0
    for offset in range(0, len(good), len(good) // 150):
        (tmp_path / "bad.mmkit").write_bytes(good[:offset] + bytes([good[offset] ^ 4]) + good[offset + 1 :])
        with pytest.raises(RefusedError):
            TrainingTask.restore_from(tmp_path / "bad.mmkit")
        refused += 1
    print(f"{refused} tried, {refused} refused")


def test_state_that_is_no_tensor_is_named(task, tmp_path, monkeypatch):
    monkeypatch.setattr(type(task), "get_extra_state", lambda self: {"a": 1}, raising=False)
    with pytest.raises(TypeError, match="_extra_state"):
        task.save_to(tmp_path / "a.mmkit")


def test_manifest_is_json_that_other_programs_read(task, tmp_path):
    path = task.save_to(tmp_path / "a.mmkit")
    listing = subprocess.run(["tar", "xOf", str(path), "manifest.json"], capture_output=True, check=True).stdout
    assert list(json.loads(listing)["members"]) == ["config.yaml", "weights.safetensors"]
    assert b"pickle" not in path.read_bytes()
    with pytest.raises(pickle.UnpicklingError):
        pickle.loads(path.read_bytes())


def test_task_with_a_configuration_that_no_file_can_hold_trains_but_is_not_saved(tmp_path):
    task = parts.Task()
    task.config = {"_target_": f"{PARTS}.Task", "settings": {"x": b"bytes"}}
    with pytest.raises(UsageError, match=r"settings\.x: a value of the type bytes"):
        task.save_to(tmp_path / "a.mmkit")
    task.config = {"_target_": f"{PARTS}.Task", "width": "???"}
    with pytest.raises(UsageError, match="width: the value is missing"):
        task.save_to(tmp_path / "a.mmkit")


def test_places_in_hydras_run_directory_are_written_relative_to_it(tmp_path, monkeypatch):
    monkeypatch.setattr("mmkit.archive.task_config.run_directory", lambda: "/runs/7")
    task = parts.Task()
    task.config = {"_target_": f"{PARTS}.Task", "path": "/runs/7/sheets/x.png"}
    assert task.config.path == "./sheets/x.png"
