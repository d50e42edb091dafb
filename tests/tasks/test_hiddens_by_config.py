"""Encoder–decoders by configuration alone: with parts of a user's own, several modalities, Mega, and the documented keys."""

import os
import subprocess
import sys

import pytest


PARTS = '''
import torch

from mmkit.conf import external_store
from mmkit.datasets.core import Example
from mmkit.hiddens import BaseHiddenLoss, BaseHiddenTransform

WORDS = ["red", "green", "blue"]


@external_store(group="datasets")
class Colours(torch.utils.data.Dataset):
    """Pictures of one colour, with its name; every third lacks the picture if some are missing."""

    def __init__(self, size: int = 12, missing: bool = False):
        self.size, self.missing = size, missing

    @staticmethod
    def example_spec(size=12, missing=False):
        return Example(example_index=0, text="green", rgb=torch.empty(3, 8, 8, dtype=torch.uint8))

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        picture = torch.zeros(3, 8, 8, dtype=torch.uint8)
        picture[index % 3] = 255
        example = Example(example_index=index, text=WORDS[index % 3])
        if not (self.missing and index % 4 == 3):
            example["rgb"] = picture
        return example


@external_store(group="hiddens/transform", name="scaled")
class Scaled(BaseHiddenTransform):
    output_names = ("scaled",)

    def __init__(self, factor: float = 1.0, inputs: dict[str, str] | None = None):
        super().__init__(inputs)
        self.factor = factor

    def forward(self, inputs, batch_data=None):
        return {"scaled": self.factor * inputs["hiddens"]}


@external_store(group="hiddens/loss", name="norm")
class Norm(BaseHiddenLoss):
    input_names = ("scaled", "scaled_mask")
    term_names = ("loss", "factor_seen")

    def forward(self, inputs, batch_data=None):
        x, mask = inputs["scaled"], inputs["scaled_mask"].unsqueeze(-1)
        mean_of_squares = (x.square() * mask).sum() / mask.sum()
        return {"loss": mean_of_squares, "factor_seen": torch.tensor(7.0)}
'''

COMMON = """
experiment_name: colours
seed: 0
dataloader:
  train: {batch_size: 6, shuffle: true, pin_memory: false}
  val: {batch_size: 6, pin_memory: false}
trainer:
  accelerator: cpu
  max_steps: 3
  val_check_interval: 2
  log_every_n_steps: 1
  enable_model_summary: false
  enable_progress_bar: false
exp_manager: {create_csv_logger: false}
"""

TEXT_MODEL = """
task:
  num_reconstructions: 4
  optimizer: {lr: 0.01}
  model:
    encoder: {vocab_size: 260, hidden_size: 8, num_layers: 1, num_attention_heads: 2, arch: perceiver, hidden_steps: 2}
    decoder: {vocab_size: 260, hidden_size: 8, num_layers: 1, num_attention_heads: 2}
"""

DEFAULTS = """# @package _global_
defaults:
  - /datasets@datasets.train.colours: Colours
  - /datasets@datasets.val.colours: Colours
  - /datasets/tokenizers@dataloader.train.collate_fn.batch_processors.text: ByteTokenizer
  - /datasets/tokenizers@dataloader.val.collate_fn.batch_processors.text: ByteTokenizer
  - /datasets/tokenizers@task.tokenizer: ByteTokenizer
  - /models@task.model: EncoderDecoder
  - /modules/decoders@task.model.decoder: TransformerDecoder
  - /modules/optimizers@task.optimizer: AdamW
"""

LAST = "  - override /task: EncoderDecoderPretraining\n  - _self_\n"
ENCODER = "  - /modules/encoders@task.model.encoder: SequenceEncoder\n"

# Parts of the user's own, named by cls_name.
BY_CLS_NAME = f"""{DEFAULTS}{ENCODER}{LAST}{COMMON}{TEXT_MODEL}    hiddens:
      enc_output_name: scaled
      transform: {{s: {{cls_name: scaled, factor: 2.0}}}}
      loss: {{small: {{cls_name: norm, loss_weight: 0.5}}}}
"""

# The same from the defaults list.
BY_DEFAULTS = f"""{DEFAULTS}{ENCODER}  - /hiddens/transform@task.model.hiddens.transform.s: scaled
  - /hiddens/loss@task.model.hiddens.loss.small: norm
{LAST}{COMMON}{TEXT_MODEL}    hiddens:
      enc_output_name: scaled
      transform: {{s: {{factor: 2.0}}}}
      loss: {{small: {{loss_weight: 0.5}}}}
"""

PLAIN = f"{DEFAULTS}{ENCODER}{LAST}{COMMON}{TEXT_MODEL}"

IMAGE_TO_TEXT = f"""{DEFAULTS}  - /modules/encoders@task.model.encoder: VisionTransformer
{LAST}{COMMON}
task:
  optimizer: {{lr: 0.02}}
  tokens_loss_reduction: sum
  model:
    encoder: {{image_size: 8, patch_size: 4, width: 8, depth: 1, num_heads: 2, pooling: none}}
    decoder: {{vocab_size: 260, hidden_size: 8, num_layers: 1, num_attention_heads: 2, memory_size: 4}}
    hiddens:
      enc_output_name: z
      transform:
        pool: {{cls_name: mean_pool}}
        q: {{cls_name: cond_gaussian, hidden_size: 8, latent_size: 4, inputs: {{hiddens: pool.pooled}}}}
      loss: {{vae: {{cls_name: vae, loss_weight: {{schedule: linear_warmup, value: 1.0, warmup_steps: 10}}}}}}
"""

SEVERAL = f"""{DEFAULTS}  - /modules/encoders@task.model.encoders.rgb: VisionTransformer
  - /modules/encoders@task.model.encoders.text: SequenceEncoder
  - /eval_task@task.evaluation_tasks.retrieval.task: ZeroShotCrossModalRetrieval
{LAST}{COMMON}
datasets: {{train: {{colours: {{missing: true}}}}, val: {{colours: {{missing: true}}}}}}
task:
  optimizer: {{lr: 0.02}}
  evaluation_tasks: {{retrieval: {{task: {{task_specs: [{{query_modality: rgb, target_modality: text, top_k: [1]}}]}}}}}}
  model:
    encoders:
      rgb: {{image_size: 8, patch_size: 4, width: 8, depth: 1, num_heads: 2, pooling: none}}
      text: {{vocab_size: 260, hidden_size: 8, num_layers: 1, num_attention_heads: 2}}
    decoder: {{vocab_size: 260, hidden_size: 8, num_layers: 1, num_attention_heads: 2, memory_size: 4}}
    hiddens:
      enc_output_name: z
      transform: {{joint: {{cls_name: product_of_experts, hidden_sizes: {{rgb: 8, text: 8}}, latent_size: 4}}}}
      loss: {{vae: {{cls_name: vae}}}}
"""

TO_MEGA = ("/modules/decoders@task.model.decoder: TransformerDecoder", "/models@task.model.decoder: MegaForCausalLM")
MEGA = f"""{DEFAULTS.replace(*TO_MEGA)}  - /modules/encoders@task.model.encoder: MegaEncoder
{LAST}{COMMON}
task:
  optimizer: {{lr: 0.01}}
  model:
    encoder: &mega
      vocab_size: 260
      hidden_size: 8
      num_hidden_layers: 1
      intermediate_size: 8
      nffn_hidden_size: 8
      ema_projection_size: 2
      shared_representation_size: 4
      pad_token_id: 0
    decoder:
      <<: *mega
      bos_token_id: 1
      eos_token_id: 2
      add_cross_attention: true
    hiddens:
      enc_output_name: z
      transform: {{q: {{cls_name: cond_gaussian, hidden_size: 8}}}}
      loss: {{mim: {{cls_name: a_mim}}}}
"""

EXPERIMENTS = {
    "by_cls_name": BY_CLS_NAME, "by_defaults": BY_DEFAULTS, "plain": PLAIN, "image_to_text": IMAGE_TO_TEXT, "several": SEVERAL,
    "mega": MEGA,
}  # fmt: skip


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A directory with a project of a user's own."""
    folder = tmp_path_factory.mktemp("user")
    configs = folder / "colours" / "configs"
    (configs / "experiment").mkdir(parents=True)
    (configs / "__init__.py").write_text("import colours.parts\n")
    (folder / "colours" / "parts.py").write_text(PARTS)
    for name, text in EXPERIMENTS.items():
        (configs / "experiment" / f"{name}.yaml").write_text(text)
    return folder


def typed(project, program, *arguments):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-c", f"from mmkit.cli.{program} import main; main()", *arguments]
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)


def trained(project, name, *arguments):
    """The metrics that a run prints."""
    done = typed(project, "run", f"+experiment={name}", *arguments)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    lines = [line.split() for line in done.stdout.splitlines()]
    return {line[0]: float(line[1]) for line in lines if len(line) == 2 and line[0].startswith(("train/", "val/"))}


def test_a_transform_and_a_loss_of_ones_own_work_from_yaml_by_either_form(project):
    one, other = trained(project, "by_cls_name"), trained(project, "by_defaults")
    assert one == other
    assert one["val/small_factor_seen"] == 7
    assert one["val/loss"] == pytest.approx(one["val/tokens_loss"] + 0.5 * one["val/small_loss"], rel=1e-3)


DOCUMENTED = [
    "task.model.encoder.arch=perceiver",
    "task.model.encoder.num_attention_heads=4",
    "task.model.decoder.memory_size=5",
    "++task.model.hiddens.enc_output_name=z",
    "++task.model.hiddens.transform.q_z_given_x.cls_name=cond_gaussian",
    "++task.model.hiddens.transform.q_z_given_x.hidden_size=8",
    "++task.model.hiddens.transform.q_z_given_x.latent_size=5",
    "++task.model.hiddens.loss.mim.cls_name=a_mim",
    "++task.model.hiddens.loss.mim.loss_weight=0.25",
    "++task.model.hiddens.tokens_loss_weight=2.0",
]


def test_the_documented_keys_work_on_the_command_line(project):
    metrics = trained(project, "plain", *DOCUMENTED)
    assert metrics["val/loss"] == pytest.approx(2 * metrics["val/tokens_loss"] + 0.25 * metrics["val/mim_loss"], rel=1e-3)
    assert {"val/q_z_given_x_kl", "val/q_z_given_x_active_units", "val/exact_match", "train/mim_log_p_z"} <= metrics.keys()


def test_images_become_texts_by_configuration(project):
    metrics = trained(project, "image_to_text")
    assert {"train/vae_weight", "val/vae_kl", "val/q_logvar_at_lower"} <= metrics.keys()


@pytest.mark.slow
def test_several_modalities_meet_in_one_posterior_where_some_are_missing(project):
    metrics = trained(project, "several")
    assert {"val/joint_kl", "val/retrieval/rgb_to_text_R@1", "val/vae_loss"} <= metrics.keys()


@pytest.mark.slow
def test_mega_encodes_and_decodes(project):
    pytest.importorskip("transformers")
    assert {"val/q_kl", "val/mim_loss"} <= trained(project, "mega").keys()


@pytest.mark.parametrize(
    "name", ["image_to_text", *(pytest.param(name, marks=pytest.mark.slow) for name in ("by_defaults", "several", "mega"))]
)
def test_a_plan_tells_what_is_needed(project, name):
    done = typed(project, "main", "plan", name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "memory at most" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            "task.model.hiddens.transform.s.cls_name=scale",
            "'scale' is no registered hidden transform. Did you mean 'scaled'?",
            id="cls_name",
        ),
        pytest.param("task.model.hiddens.enc_output_name=scald", "Did you mean 'scaled'?", id="output"),
    ],
)
def test_a_misnamed_part_ends_in_one_line(project, change, message):
    done = typed(project, "run", "+experiment=by_cls_name", change)
    told = " ".join((done.stdout + done.stderr).split())
    assert (done.returncode, message in told, "Traceback" in told) == (2, True, False), told
