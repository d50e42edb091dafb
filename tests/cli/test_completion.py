"""What a shell is offered; the protocol is that of Hydra's own functions, which real shells run here."""

import contextlib
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hydra._internal.core_plugins.bash_completion import BashCompletion

from mmkit.cli.completion import answer_query, completions, is_query
from mmkit.cli.completion_keys import decides_about_keys, keys_of


@pytest.fixture(scope="module", autouse=True)
def own_memo(tmp_path_factory):
    """Memos of these tests' own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        pytest.param("experiment=emoji_c", ["experiment=emoji_clip"], id="experiment"),
        pytest.param("+experiment=emoji_clip,emoji_sc", ["+experiment=emoji_clip,emoji_scratch"], id="sweep-over-experiments"),
        pytest.param("+exp", ["+experiment="], id="word-experiment"),
        pytest.param("task=Con", ["task=ContrastivePretraining"], id="option"),
        pytest.param("+trainer=", ["+trainer=bf16"], id="option-in-a-file"),
        pytest.param("modules/los", ["modules/losses@"], id="group-that-is-not-in-use"),
        pytest.param("--he", ["--help"], id="flag"),
        pytest.param("--cfg ", ["all", "hydra", "job"], id="value-of-a-flag"),
        pytest.param("experiment=emoji_clip trainer.max_s", ["trainer.max_steps="], id="key"),
        pytest.param("experiment=emoji_clip trainer.max_steps=", ["trainer.max_steps=900"], id="present-value"),
        pytest.param("experiment=emoji_clip task.lo", ["task.log_auxiliary_tasks_loss=", "task.loss."], id="keys-up-to-a-dot"),
        pytest.param("experiment=emoji_clip test_after_fit=", ["test_after_fit=false", "test_after_fit=true"], id="boolean"),
        pytest.param("experiment=emoji_clip job_type=e", ["job_type=eval"], id="known-values"),
        pytest.param("experiment=emoji_clip modules/los", ["modules/losses@task.loss="], id="group-in-use"),
        pytest.param(
            "experiment=emoji_clip modules/losses@task.loss=Contr",
            ["modules/losses@task.loss=ContrastiveLoss"],
            id="option-in-use",
        ),
        pytest.param("experiment=emoji_clip nothing.like.th", [], id="nothing"),
    ],
)
def test_words_are_completed(typed, offered):
    assert completions(f"mmkit_run {typed}") == offered


def test_components_of_the_experiments_project_are_offered():
    offered = completions("mmkit_run experiment=emoji_clip modules/encoders@task.encoders.rgb=Eff")
    assert offered == ["modules/encoders@task.encoders.rgb=EfficientNetLite"]


def test_an_exchanged_part_brings_its_own_keys():
    line = "mmkit_run experiment=emoji_clip modules/losses@task.loss=SigmoidLoss task.loss."
    offered = completions(line)
    assert "task.loss.init_logit_bias=" in offered
    assert "task.loss._target_=" not in offered
    assert completions(f"{line}_") == ["task.loss._convert_=", "task.loss._target_="]


def test_a_word_in_the_middle_of_the_line_is_completed():
    line = "mmkit_run experiment=emoji_clip trainer.max_s task.optimizer.lr=1"
    assert completions(line, line.index(" task")) == ["trainer.max_steps="]


def test_an_unfinished_line_still_offers_the_keys_of_the_experiment():
    assert completions("mmkit_run experiment=emoji_clip modules/losses@task.loss=Nope trainer.max_s") == ["trainer.max_steps="]


def test_files_are_completed_where_a_path_is_begun(tmp_path):
    (tmp_path / "weights.mmkit").touch()
    (tmp_path / "weightless").mkdir()
    found = completions(f"mmkit_run experiment=emoji_clip init_from={tmp_path}/wei")
    assert found == [f"init_from={tmp_path}/weightless/", f"init_from={tmp_path}/weights.mmkit"]


def test_plain_values_decide_about_no_keys():
    deciding = ["+experiment=a", "task=B", "a/b@c=d", "~a.b", "a.b={c: 1}", "a.b=[1,{c: 2}]", "a.b=${c}"]
    plain = ["trainer.max_steps=3", "task.optimizer.lr=1e-3", "exp_manager.name=a-b"]
    assert [decides_about_keys(text) for text in (*deciding, *plain)] == [True] * len(deciding) + [False] * len(plain)


def write_project(folder: Path, experiment: str) -> None:
    (folder / "configs" / "experiment").mkdir(parents=True, exist_ok=True)
    (folder / "configs" / "__init__.py").touch()
    (folder / "configs" / "experiment" / "first.yaml").write_text(experiment)


FIRST = "# @package _global_\ndefaults:\n- override /task: ContrastivePretraining\n- _self_\ntask:\n  {}\n"


def test_what_is_kept_is_made_anew_when_a_file_changes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_project(tmp_path / "lab", FIRST.format("init_logit_scale: 3.5"))
    assert completions("mmkit_run experiment=first task.init_logit_scale=") == ["task.init_logit_scale=3.5"]
    write_project(tmp_path / "lab", FIRST.format("init_logit_scale: 14.0"))
    assert completions("mmkit_run experiment=first task.init_logit_scale=") == ["task.init_logit_scale=14.0"]


def test_what_is_kept_is_not_trusted_when_it_is_broken(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    line = "mmkit_run experiment=emoji_clip trainer.max_s"
    assert completions(line) == ["trainer.max_steps="]
    (kept,) = (tmp_path / "cache").rglob("completion-*.json")
    for content in (b"{}", kept.read_bytes()[:200]):
        kept.write_bytes(content)
        assert completions(line) == ["trainer.max_steps="]


def test_it_works_where_nothing_can_be_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("MMKIT_INDEX", "off")
    assert completions("mmkit_run trainer.max_s") == ["trainer.max_steps="]
    assert not list(tmp_path.rglob("*.json"))


def test_keys_depend_on_the_files_that_define_the_parts():
    sources = keys_of(["task=ContrastivePretraining"], []).sources
    assert {"base.py", "contrastive_pretraining.py"} <= {Path(path).name for path in sources}


def test_whatever_fails_the_shell_gets_nothing(capsys, monkeypatch):
    monkeypatch.delenv("COMP_LINE", raising=False)
    answer_query(["-sc", "query=bash"])
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("\n", "")


def test_only_questions_are_answered():
    assert is_query(["-sc", "query=zsh"])
    assert not is_query(["-sc", "install=bash"])
    assert not is_query(["experiment=first"])


@pytest.fixture
def shell_setup(tmp_path, monkeypatch) -> str:
    """What Hydra prints to be evaluated, and a command that answers."""
    command = tmp_path / "bin" / "mmkit_run"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m mmkit.cli.completion "$@"\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(sys, "argv", ["mmkit_run"])
    with contextlib.redirect_stdout(io.StringIO()) as script:
        BashCompletion(None).install()  # pyright: ignore[reportArgumentType]
    return script.getvalue()


ASK = """
COMP_LINE='{line}'; COMP_POINT=${{#COMP_LINE}}; COMP_WORDS=($COMP_LINE); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
hydra_bash_completion; printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes_with_hydras_function(shell_setup):
    lines = ["mmkit_run experiment=emoji_c", "mmkit_run experiment=emoji_clip trainer.max_s", "mmkit_run --he"]
    script = shell_setup + "".join(ASK.format(line=line) for line in lines)
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["experiment=emoji_clip", "trainer.max_steps=", "--help"]


@pytest.mark.parametrize(("shell", "separator"), [("zsh", " "), ("fish", "\n")])
def test_other_shells_ask_in_the_same_way(capsys, monkeypatch, shell, separator):
    monkeypatch.setenv("COMP_LINE", "mmkit_run --cfg ")
    monkeypatch.delenv("COMP_POINT", raising=False)  # fish gives the line up to the cursor, and no position
    answer_query(["-sc", f"query={shell}"])
    assert capsys.readouterr().out == separator.join(["all", "hydra", "job"]) + "\n"


def test_nothing_heavy_is_imported_once_keys_are_kept():
    code = "import sys; from mmkit.cli.completion import completions; completions(sys.argv[1]); print(*sys.modules)"
    line = "mmkit_run experiment=emoji_clip trainer.max_"
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", code, line], capture_output=True, text=True, check=True)
    assert not {"hydra", "omegaconf", "yaml", "rich", "torch"} & set(done.stdout.split())
