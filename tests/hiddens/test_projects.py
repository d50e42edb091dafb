"""A user's own transformation and loss, from YAML alone; and what a run says of mistakes in the configuration of hiddens."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest


PARTS = '''
import torch
from torch import nn

from mmkit.conf import external_store
from mmkit.constants import EXAMPLE_INDEX_KEY
from mmkit.datasets.core import Example, Modalities
from mmkit.hiddens import BaseHiddenLoss, BaseHiddenTransform, register_hidden_loss


@external_store(group="datasets")
class Words(torch.utils.data.Dataset):
    def __len__(self):
        return 12

    def __getitem__(self, index):
        return Example({EXAMPLE_INDEX_KEY: index, Modalities.TEXT.name: "abc"[: index % 3 + 1]})


@external_store(group="hiddens/transform", name="squashed")
class Squashed(BaseHiddenTransform):
    """Keeps hidden states between -bound and bound.

    Args:
        bound: The bound.
    """

    output_names = ("squashed",)

    def __init__(self, hidden_size: int, bound: float = 1.0, inputs: dict[str, str] | None = None):
        super().__init__(inputs)
        self.bound, self.linear = bound, nn.Linear(hidden_size, hidden_size)

    def forward(self, inputs, batch_data=None):
        return {"squashed": self.bound * torch.tanh(self.linear(inputs["hiddens"]))}


class Sparse(BaseHiddenLoss):
    input_names = ("squashed", "squashed_mask")

    def forward(self, inputs, batch_data=None):
        size_BS = inputs["squashed"].abs().sum(-1) * inputs["squashed_mask"]
        return {"loss": (size_BS.sum(1) / inputs["squashed_mask"].sum(1)).mean()}


register_hidden_loss("sparse", Sparse)
'''

EXPERIMENT = """# @package _global_
defaults:
- /datasets@datasets.train.words: Words
- /datasets@datasets.val.words: Words
- /datasets/tokenizers@dataloader.train.collate_fn.batch_processors.text: CharacterTokenizer
- /models@task.model: EncoderDecoder
- /modules/encoders@task.model.encoder: SequenceEncoder
- /modules/decoders@task.model.decoder: TransformerDecoder
- /modules/optimizers@task.optimizer: AdamW
{defaults}- override /task: EncoderDecoderPretraining
- _self_

experiment_name: words
seed: 1
dataloader:
  train: {{batch_size: 4, pin_memory: false, collate_fn: {{batch_processors: {{text: {{alphabet: abc}}}}}}}}
  val: {{batch_size: 4, pin_memory: false, collate_fn: {{batch_processors: "${{dataloader.train.collate_fn.batch_processors}}"}}}}
task:
  tokenizer: ${{dataloader.train.collate_fn.batch_processors.text}}
  model:
    encoder: {{vocab_size: 8, hidden_size: 8, num_layers: 1, num_attention_heads: 2, max_positions: 8}}
    decoder: {{vocab_size: 8, hidden_size: 8, num_layers: 1, num_attention_heads: 2, max_positions: 8, memory_size: 8}}
    hiddens:
      enc_output_name: squashed
{hiddens}
trainer: {{accelerator: cpu, max_epochs: 1, enable_model_summary: false, enable_progress_bar: false}}
exp_manager:
  create_csv_logger: true
"""

BY_NAME = """      transform:
        s: {cls_name: squashed, hidden_size: 8, bound: 2.0}
      loss:
        few: {cls_name: sparse, loss_weight: {schedule: linear_warmup, value: 0.1, warmup_steps: 3}}
"""
BY_DEFAULTS = """- /hiddens/transform@task.model.hiddens.transform.s: squashed
- /hiddens/loss@task.model.hiddens.loss.few: sparse
"""
ARGUMENTS = """      transform: {s: {hidden_size: 8, bound: 2.0}}
      loss: {few: {loss_weight: {schedule: linear_warmup, value: 0.1, warmup_steps: 3}}}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a project that has the same experiment in both forms."""
    folder = tmp_path_factory.mktemp("project")
    configs = folder / "my_project" / "configs"
    (configs / "experiment").mkdir(parents=True)
    (configs / "__init__.py").write_text("from my_project import parts\n")
    (folder / "my_project" / "parts.py").write_text(PARTS)
    for name, form in {
        "named": {"defaults": "", "hiddens": BY_NAME},
        "listed": {"defaults": BY_DEFAULTS, "hiddens": ARGUMENTS},
    }.items():
        (configs / "experiment" / f"{name}.yaml").write_text(EXPERIMENT.format(**form))
    return folder


@pytest.fixture
def python(project):
    """Runs Python in the project."""

    def python(program: str, *typed: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-W", "ignore", "-c", program, *typed]
        return subprocess.run(command, cwd=project, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)

    return python


@pytest.fixture
def command(python):
    """Runs a command in the project."""
    return lambda program, *typed: python(f"from mmkit.cli.{program} import main; main()", *typed)


BUILD = """
from hydra.utils import instantiate
from mmkit.cli.plan import composed
for name in ("named", "listed"):
    with composed([f"+experiment={name}"]).resolving() as cfg:
        print(instantiate(cfg.task.model, _convert_="object").hiddens)
"""


def test_parts_of_a_project_are_built_the_same_by_name_and_by_defaults_list(python):
    built = python(BUILD).stdout.splitlines()
    assert built[: len(built) // 2] == built[len(built) // 2 :]
    assert "    (s): Squashed(" in built
    weight = "LinearWarmup(value=0.1, warmup_steps=3, start=0.0)"
    assert f"    (few): Sparse(squashed, squashed_mask -> loss, loss_weight={weight})" in built


def trained(command, project, name):
    """What the loggers got of a run, but for how fast it was."""
    folder = project / "outputs" / name
    done = command("run", f"experiment={name}", f"exp_manager.explicit_log_dir={folder}", "trainer.log_every_n_steps=1")
    assert done.returncode == 0, done.stderr
    (written,) = folder.rglob("metrics.csv")
    rows = csv.DictReader(written.read_text().splitlines())
    return [{name: value for name, value in row.items() if not name.endswith(("_time_ms", "samples_per_s"))} for row in rows]


@pytest.mark.slow
def test_parts_of_a_project_train_the_same_by_name_and_by_defaults_list(command, project):
    metrics = trained(command, project, "named")
    assert {"train/few_loss", "train/few_weight", "train/hiddens_loss", "val/few_loss"} <= set(metrics[0])
    assert trained(command, project, "listed") == metrics


def test_parts_of_a_project_are_listed_and_shown_without_importing_them(command):
    assert "Keeps hidden states between -bound and bound." in command("main", "list", "hiddens/transform").stdout
    assert "sparse" in command("main", "list", "hiddens/loss").stdout
    assert "default" in command("main", "show", "hiddens/transform/squashed").stdout


HIDDENS = "task.model.hiddens"


def test_a_mistake_ends_a_run_with_one_line_and_no_trace(command):
    done = command("run", "experiment=named", f"{HIDDENS}.transform.s.cls_name=sqashed")
    assert done.returncode == 2
    message = "hiddens.transform.s.cls_name='sqashed' is no registered hidden transform. Did you mean 'squashed'?"
    assert done.stderr.startswith(f"mmkit_run: task.model: {message}")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_a_plan_tells_a_mistake_with_its_key(command):
    done = command("main", "plan", "named", f"{HIDDENS}.loss.few.loss_weight.schedule=linear")
    assert done.returncode == 2
    assert "task.model: hiddens.loss.few (sparse): loss_weight: schedule='linear' is unknown." in " ".join(done.stdout.split())
