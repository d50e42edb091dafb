"""What the check makes of whole command lines."""

import os
import subprocess
import sys

import pytest
from hydra._internal.utils import get_args_parser

from mmkit.cli.composing import compose
from mmkit.cli.preflight import answer, check
from mmkit.cli.preflight.arguments import read_arguments
from mmkit.cli.preflight.diagnosing import Request, diagnose
from mmkit.conf.projects import find_projects, use
from tests.cli.preflight.corpus import EXPERIMENT


def run(program, *arguments, **environment):
    command = [sys.executable, "-W", "ignore", "-c", program, *arguments]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)


def mmkit_run(*arguments, **environment):
    return run("from mmkit.cli.run import main; main()", *arguments, **environment)


def codes(*arguments):
    return [mistake.code for mistake in check(arguments).mistakes]


def test_all_mistakes_are_told_at_once(study):
    study(
        EXPERIMENT.replace("max_epochs: 2", "max_epochs: ${trainer.max_step}")
        .replace("torch.nn.Dropout", "torch.nn.Dropuot")
        .replace("task.loss: ContrastiveLoss", "task.loss: ContrastivLoss")
        .replace("  accelerator", "  acelerator")
    )
    code, text = answer(
        ["experiment=study", "--verbos", "trainer.max_stesp=3", "job_type=train,eval", "tags=[a,", "b]", "+seed=2"]
    )
    assert code == 2
    assert text.startswith("mmkit_run: 9 mistakes; nothing was started.")
    for expected in (
        "MM101 --verbos",
        "MM103 tags=[a, b]",
        "MM104 job_type=train,eval",
        "MM201 my_project/configs/experiment/study.yaml:7: /modules/losses@task.loss: ContrastivLoss",
        "MM203 my_project/configs/experiment/study.yaml:28: trainer.acelerator",
        "MM203 trainer.max_stesp=3",
        "MM204 +seed=2",
        "MM303 my_project/configs/experiment/study.yaml:29: trainer.max_epochs",
        "MM401 my_project/configs/experiment/study.yaml:24: task.heads.rgb.drop._target_",
    ):
        assert expected in text


def test_a_correct_experiment_is_not_refused(home):
    assert answer(["experiment=first", "seed=3"]) == (0, "")
    assert answer(["-m", "experiment=first", "seed=1,2", "task.optimizer.lr=choice(0.1,0.2)"]) == (0, "")


def test_only_the_bad_jobs_of_a_sweep_are_named(home):
    _, text = answer(["-m", "experiment=first", "seed=1,x", "trainer.max_epochs=1,2", "trainer.max_step=3"])
    assert text.count("job ") == 2
    assert "MM301 job 2 (seed=x trainer.max_epochs=1): seed=x: 'x' is not an integer." in text
    assert text.count("trainer.max_step=3") == 1  # wrong in all jobs: told once


def test_what_the_sweeper_sweeps_besides_is_checked(study):
    study(EXPERIMENT.replace("seed: 1", "hydra: {sweeper: {params: {seed: '1,2'}}}\nseed: 1"))
    assert codes("-m", "experiment=study", "hydra.sweeper.params.seed='3,4'") == []
    assert codes("-m", "experiment=study", "hydra.sweeper.params.seed='3,x'") == ["MM301"]


@pytest.mark.parametrize(
    ("typed", "flags"),
    [
        (["-mc", "job"], {"--multirun": "", "--cfg": "job"}),
        (["-mcjob"], {"--multirun": "", "--cfg": "job"}),
        (["-hiall"], {"--help": "", "--info": "all"}),
        (["-rptask", "-cn", "x"], {"--run": "", "--package": "task", "--config-name": "x"}),
        (["-ch"], None),
        (["-c", "job"], {"--cfg": "job"}),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_flags_are_read_as_hydra_reads_them(typed, flags):
    read = read_arguments([*typed, "seed=1"])
    assert (read.flags if not read.mistakes else None) == flags
    if flags is not None:
        parsed = vars(get_args_parser().parse_args([*typed, "seed=1"]))
        assert {name: parsed[name.strip("-").replace("-", "_")] for name in flags} == {k: v or True for k, v in flags.items()}
        assert read.overrides == parsed["overrides"] == ["seed=1"]


def test_keys_that_interpolations_refer_to_are_read(home):
    assert codes("experiment=first", "+width=8", "task.encoders.rgb.width=${width}") == []
    assert codes("experiment=first", "+width=8") == ["MM205"]


def test_resolvers_of_hydra_and_of_projects_resolve(study):
    study(EXPERIMENT.replace("seed: 1", 'seed: "${hydra:job.num}"\ntags: ["${now:%Y}", "${hydra:runtime.output_dir}"]'))
    assert codes("-m", "experiment=study", "task.optimizer.lr=0.1,0.2") == []
    assert codes("experiment=study") == []
    assert codes("experiment=first", "tags=['${my_resolver:}']") == ["MM303"]


def test_a_resolver_that_the_project_registers_is_left_to_the_run(home, study):
    (home / "my_project" / "more.py").write_text("OmegaConf.register_new_resolver('my_resolver', str)\n")
    try:
        assert codes("experiment=first", "tags=['${my_resolver:}']") == []
    finally:
        (home / "my_project" / "more.py").unlink()


def test_variables_that_hydra_sets_for_the_job_are_set(home, monkeypatch):
    override = "exp_manager.exp_dir=${oc.env:MMKIT_SET_HERE}"
    assert codes("experiment=first", override) == ["MM304"]
    assert codes("experiment=first", override, "+hydra.job.env_set.MMKIT_SET_HERE=x") == []
    assert "MMKIT_SET_HERE" not in os.environ


def test_partial_components_need_not_have_all_arguments_and_positional_ones_count(study):
    mlp = "      mlp: {_target_: mmkit.modules.layers.MLP, in_dim: 4, out_dim: 4}"
    for instead in ("{_target_: torch.nn.Linear, _partial_: true}", "{_target_: torch.nn.Linear, _args_: [4, 4]}"):
        study(EXPERIMENT.replace(mlp, f"      mlp: {instead}"))
        assert codes("experiment=study") == []
    study(EXPERIMENT.replace(mlp, "      mlp: {_target_: torch.nn.Linear, _args_: [4]}"))
    assert codes("experiment=study") == ["MM405"]


def test_showing_needs_no_values(home):
    assert codes("experiment=first", "task.encoders.rgb.modality=???", "--cfg", "job") == []
    assert codes("experiment=first", "trainer.max_step=3", "--cfg", "job") == ["MM203"]


def test_composing_leniently_gives_what_hydra_composes(home):
    (emoji,) = [project for project in find_projects() if project.configs.parent.name == "emoji_clip"]
    use(emoji)
    for experiment in ("emoji_clip", "emoji_three_way"):
        overrides, path = [f"+experiment={experiment}", "seed=3", "hydra.job.name=x"], [f"file://{emoji.configs}"]
        lenient, strict = diagnose(Request("base_config", overrides, path)).composed, compose("base_config", overrides, path)
        assert lenient is not None
        assert lenient.cfg == strict.cfg
        assert lenient.choices == strict.choices
        for part in ("job", "overrides", "run", "sweep", "launcher"):
            assert lenient.hydra[part] == strict.hydra[part]


def test_nothing_of_what_would_run_is_imported(home):
    heavy = "[name for name in ('torch', 'lightning', 'transformers', 'timm', 'hydra_zen', 'my_project') if name in sys.modules]"
    program = f"import sys; from mmkit.cli.preflight import answer; print(answer(sys.argv[1:])[0], {heavy})"
    assert run(program, "experiment=first", "trainer.max_step=3").stdout == "2 []\n"


def test_a_module_that_raises_is_told_with_its_own_line(home):
    parts = home / "my_project" / "parts.py"
    before = parts.read_text()
    parts.write_text(before + "\n\nwidths = [4]\nwidest = widths[1]\n")
    try:
        done = mmkit_run("experiment=first")
    finally:
        parts.write_text(before)
    line = len(before.splitlines()) + 4
    assert done.returncode == 2
    assert f"MM601 my_project/parts.py:{line}: widest = widths[1]: IndexError: list index out of range" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (home / "outputs").exists()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["experiment=first", "trainer.max_step=3"], "MM203"), (["-m", "experiment=first", "seed=1,x"], "MM301")],
    ids=["run", "sweep"],
)
def test_the_command_answers_on_stderr_and_starts_nothing(home, arguments, code):
    done = mmkit_run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert code in done.stderr
    assert not (home / "outputs").exists()
    assert mmkit_run(*arguments, LOCAL_RANK="1").stderr == ""
