"""What the commands tell about groups, their options and the keys of a configuration."""

import json
import subprocess
import sys

import pytest

from mmkit.cli.composing import compose
from mmkit.cli.documentation import documentation_of, introduction
from mmkit.cli.key_docs import of_base
from mmkit.cli.main import run
from mmkit.conf.index import signature
from mmkit.conf.projects import find_projects, search_path


@pytest.fixture
def told(capsys):
    """Runs a command and returns what it prints."""

    def told(*typed, code=0):
        assert run(list(typed)) == code
        captured = capsys.readouterr()
        return captured.out if code == 0 else captured.err

    return told


def row(output, name):
    return next(line for line in output.splitlines() if line.split()[:1] == [name])


def test_groups_are_listed_with_their_number_of_options(told):
    out = told("list")
    assert "trainer" in row(out, "trainer")  # a group of files
    rows = {each["group"]: each for each in json.loads(told("list", "--json"))}
    assert rows["modules/encoders"]["options"] >= 19
    assert rows["modules/encoders"]["doc"].startswith("Encoders: a dictionary of tensors in")


def test_options_are_listed_with_what_they_are_and_what_a_preset_sets(told):
    out = told("list", "modules/encoders")
    assert "Hand on features that were computed before." in row(out, "IdentityEncoder")
    assert "[width=192, depth=12, num_heads=3]" in row(out, "vit_tiny")
    assert "EfficientNet-Lite0" in row(out, "EfficientNetLite")  # of a project
    entry = next(each for each in json.loads(told("list", "modules/encoders", "--json")) if each["name"] == "vit_tiny")
    assert entry["values"] == {"width": 192, "depth": 12, "num_heads": 3}
    assert entry["target"].endswith("VisionTransformer")


def test_options_in_files_are_listed(told):
    assert "bfloat16" in row(told("list", "trainer"), "bf16")


@pytest.mark.parametrize("typed", [("list", "--projects"), ("list", "experiment")])
def test_experiments_are_listed(told, typed):
    assert "Three modalities at once" in row(told(*typed), "emoji_three_way")


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        pytest.param(["list", "modules/lossses"], "Did you mean modules/losses?", id="group"),
        pytest.param(["list", "losses"], "Did you mean modules/losses?", id="end-of-a-group"),
        pytest.param(["list", "modules"], "holds some: modules/decoders, modules/encoders, modules/layers", id="part-of-a-group"),
        pytest.param(["list", "qqqq"], "There are: data, dataloader/sampler", id="nothing-alike"),
        pytest.param(["show", "modules/losses/ContrastivLoss"], "Did you mean modules/losses/ContrastiveLoss?", id="option"),
        pytest.param(["show", "ContrastivLoss"], "Did you mean modules/losses/ContrastiveLoss?", id="option-without-group"),
        pytest.param(["show", "modules/losses"], "is a group. Its options: mmkit list modules/losses", id="show-a-group"),
        pytest.param(["docs", "trainer.max_step"], "trainer has no key 'max_step'. Did you mean trainer.max_steps?", id="key"),
        pytest.param(["docs", "trainr.max_steps"], "Did you mean trainer?", id="first-part-of-a-key"),
        pytest.param(["docs", "task.loss"], "mmkit docs task.loss --experiment NAME", id="needs-an-experiment"),
        pytest.param(["docs", "task.loss", "--experiment", "emoji_clp"], "Did you mean emoji_clip?", id="experiment"),
        pytest.param(
            ["docs", "task.los.l2_normalize", "--experiment", "emoji_clip"], "Did you mean task.loss?", id="key-of-an-experiment"
        ),
    ],
)
def test_wrong_names_are_answered_with_the_closest_right_one(told, typed, message):
    assert message in told(*typed, code=2)


def test_an_option_is_shown_with_arguments_place_and_examples(told):
    out = told("show", "modules/losses/ContrastiveLoss")
    assert "InfoNCE between pairs of modalities" in out
    assert row(out, "l2_normalize").split()[:3] == ["l2_normalize", "bool", "false"]
    assert "Divide every embedding by its Euclidean norm first." in row(out, "l2_normalize")
    assert "contrastive.py:" in row(out, "defined")
    assert "modules/losses@task.loss=ContrastiveLoss task.loss.l2_normalize=true" in out
    assert "- /modules/losses@task.loss: ContrastiveLoss" in out


def test_an_example_of_show_composes(told):
    facts = json.loads(told("show", "modules/losses/ContrastiveLoss", "--json"))
    typed = facts["command"].replace("experiment=NAME", "+experiment=emoji_clip").split()[1:]
    assert compose("base_config", typed, search_path(typed, find_projects())).cfg.task.loss.l2_normalize is True


def test_a_preset_is_shown_with_its_own_defaults(told):
    assert row(told("show", "vit_tiny"), "width").split()[:4] == ["width", "int", "192", "(preset)"]


def test_a_partial_is_shown_without_what_its_caller_gives_and_with_documentation_that_is_assigned(told):
    facts = json.loads(told("show", "modules/optimizers/AdamW", "--json"))
    parameters = {each["name"]: each for each in facts["parameters"]}
    assert "params" not in parameters
    assert parameters["lr"]["doc"].startswith("learning rate")
    assert facts["doc"].startswith("Implements AdamW algorithm")


def test_assigned_documentation_is_what_importing_gives():
    import inspect

    import torch

    read = introduction(documentation_of(signature("torch.optim.SGD")))
    assert read == inspect.cleandoc(torch.optim.SGD.__doc__ or "").splitlines()[0]


def test_an_experiment_is_shown(told):
    out = told("show", "emoji_clip")
    assert "mmkit_run experiment=emoji_clip" in out
    assert "on frozen pretrained towers" in out


def test_options_in_files_are_shown(told):
    assert "mmkit_run experiment=NAME +trainer=bf16" in told("show", "trainer/bf16")


@pytest.mark.parametrize(
    ("key", "start", "meaning", "reader"),
    [
        pytest.param(
            "trainer.max_steps",
            "trainer.max_steps: int = -1",
            "Stop training after this number of steps",
            "Trainer",
            id="lightning",
        ),
        pytest.param(
            "dataloader.train.batch_size",
            "dataloader.train.batch_size: int",
            "how many samples per batch",
            "DataLoader",
            id="torch",
        ),
        pytest.param(
            "seed=3", "seed: int | None = null", "Seed of all random number generators", "MMKitConf", id="typed-with-a-value"
        ),
        pytest.param(
            "exp_manager.ema.decay", "exp_manager.ema.decay: float", "Weight of the old average", "MovingAverage", id="named"
        ),
        pytest.param("exp_manager.checkpoint_callback_params.mode", "exp", "min or max", "CheckpointConf", id="own"),
        pytest.param(
            "dataloader.train.collate_fn.batch_processors",
            "dataloader",
            "callable on the collated value",
            "Collator",
            id="nested-target",
        ),
    ],
)
def test_keys_of_the_base_configuration_are_explained_by_what_reads_them(told, key, start, meaning, reader):
    out = told("docs", key)
    assert out.startswith(start)
    assert meaning in " ".join(out.split())
    assert reader in row(out, "read")


@pytest.mark.parametrize(
    ("key", "start", "meaning"),
    [
        pytest.param("task.loss.l2_normalize", "task.loss.l2_normalize: bool = true", "Euclidean norm", id="argument"),
        pytest.param("task.heads.rgb.mlp.out_dim", "task.heads.rgb.mlp.out_dim: int", "", id="in-a-dict"),
        pytest.param("trainer.max_steps", "trainer.max_steps: int = 900", "Stop training after", id="base-key-with-its-value"),
        pytest.param("task.loss", "task.loss", "InfoNCE", id="part"),
        pytest.param("task.lr_scheduler.scheduler.T_max", "task.lr_scheduler.scheduler.T_max: int = 900", "", id="interpolation"),
    ],
)
def test_keys_of_an_experiment_are_explained(told, key, start, meaning):
    out = told("docs", key, "--experiment", "emoji_clip")
    assert out.startswith(start)
    assert meaning in out


def test_a_part_of_the_base_configuration_is_explained_with_its_keys(told):
    facts = json.loads(told("docs", "exp_manager", "--json"))
    assert facts["keys"]["exp_dir"] == "Folder of all experiments."


def keys_below(key):
    found = of_base(key)
    assert found is not None
    yield key
    for name in found.keys:
        yield from keys_below(f"{key}.{name}")


def test_every_key_of_the_base_configuration_is_known():
    composed = compose("base_config", ["task=ContrastivePretraining"]).cfg
    tops = [str(name) for name in composed if name not in ("datasets", "task")]
    known = {key for top in tops for key in keys_below(top)}
    assert {f"trainer.{name}" for name in composed.trainer if name != "_target_"} <= known
    assert {f"exp_manager.ema.{name}" for name in composed.exp_manager.ema} <= known
    assert len(known) > 150


@pytest.mark.parametrize(
    "typed", [["list", "modules/losses"], ["show", "modules/losses/ContrastiveLoss"], ["docs", "trainer.max_steps"]]
)
def test_nothing_heavy_is_imported(typed):
    code = "import sys; from mmkit.cli.main import run; run(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code, *typed], capture_output=True, text=True, check=True)
    assert not {"torch", "lightning", "hydra", "omegaconf", "timm"} & set(done.stderr.split())


def test_a_mistake_in_an_experiment_is_told_by_docs_as_before_a_run(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "lab" / "configs" / "experiment"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").touch()
    (folder / "broken.yaml").write_text("# @package _global_\nx: [1\n")
    monkeypatch.chdir(tmp_path)
    assert run(["docs", "task.loss", "--experiment", "broken"]) == 2
    assert "MM501" in capsys.readouterr().err
