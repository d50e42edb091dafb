"""Every task on a sequence model trains, goes on and is evaluated as an experiment, with Mega and a model of transformers."""

import json
import math
import shutil

import pytest
from hydra import compose, initialize

from mmkit.experiment.run import run
from tests.reliability.exact_run import differences


STEPS = 4
BYTES = "{_target_: mmkit.datasets.tokenizers.ByteTokenizer}"
MASKS = "{_target_: mmkit.datasets.masking.RandomMaskGenerator, mask_token_id: 3, vocab_size: 260, special_token_ids: [0, 1, 2]}"
SMALL_MEGA = [
    f"task.model.{key}={value}"
    for key, value in {
        "vocab_size": 260, "hidden_size": 8, "num_hidden_layers": 1, "intermediate_size": 8, "nffn_hidden_size": 8,
        "ema_projection_size": 2, "shared_representation_size": 4, "pad_token_id": 0, "bos_token_id": 1,
    }.items()
]  # fmt: skip
SMALL = "vocab_size: 260, pad_token_id: 0, bos_token_id: 1, eos_token_id: 2"
BERT = f"{SMALL}, model_type: bert, hidden_size: 8, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 8"
GPT2 = f"{SMALL}, model_type: gpt2, n_embd: 8, n_layer: 1, n_head: 2"


def hf(head, config):
    return ["+models@task.model=HFModel", f"task.model.head={head}", f"+task.model.config={{{config}}}"]


def mega(name):
    return [f"+models@task.model={name}", *SMALL_MEGA]


CAUSAL = ["task=CausalLanguageModeling", "task.bytes_per_token=1"]
MODELS = {
    "causal-gpt2": [*CAUSAL, *hf("causal_lm", GPT2)],
    "causal-mega": [*CAUSAL, *mega("MegaForCausalLM")],
    "masked-bert": ["task=MaskedLanguageModeling", *hf("masked_lm", BERT)],
    "masked-mega": ["task=MaskedLanguageModeling", *mega("MegaForMaskedLM")],
    "classes-bert": ["task=SequenceClassification", *hf("sequence_classification", BERT)],
    "classes-mega": ["task=SequenceClassification", *mega("MegaForSequenceClassification")],
}


def processors(key, name):
    if not name.startswith("masked"):
        return [f"+datasets/tokenizers@{key}=ByteTokenizer"]
    return [f"+datasets/transforms@{key}=Compose", f"{key}.transforms=[{BYTES}, {MASKS}]"]


def composed(name, run_dir, *overrides):
    data = "Texts" if name.startswith("classes") else "OnlyTexts"
    key = "dataloader.{}.collate_fn.batch_processors.text"
    common = [
        *(f"+datasets.{stage}.texts={{_target_: tests.tasks.texts.{data}}}" for stage in ("train", "val")),
        *(f"dataloader.{stage}={{batch_size: 3, pin_memory: false}}" for stage in ("train", "val")),
        *processors(key.format("train"), name), *processors(key.format("val"), name),
        "dataloader.train.shuffle=true",
        "+modules/optimizers@task.optimizer=AdamW",
        "task.optimizer.lr=0.01",
        "experiment_name=small", "seed=3",
        f"trainer.max_steps={STEPS}", "trainer.accelerator=cpu", "trainer.log_every_n_steps=1", "trainer.val_check_interval=2",
        "trainer.enable_progress_bar=false", "trainer.enable_model_summary=false", f"trainer.default_root_dir={run_dir}",
        f"exp_manager.explicit_log_dir={run_dir}", "exp_manager.resume_if_exists=true",
        "exp_manager.resume_ignore_no_checkpoint=true", "exp_manager.checkpoint_callback_params.every_n_train_steps=1",
        "exp_manager.checkpoint_callback_params.save_top_k=-1",
    ]  # fmt: skip
    with initialize(version_base="1.3", config_path=None):
        return compose("base_config", overrides=[*MODELS[name], *common, *overrides])


def train(name, run_dir, *overrides):
    return run(composed(name, run_dir, *overrides), run_dir).metrics


def resumed(straight, run_dir, name, step):
    """The straight run gone on with after one of its steps."""
    shutil.copytree(straight, run_dir, ignore=shutil.ignore_patterns("checkpoints"))
    shutil.copytree(straight / "checkpoints" / f"step-{step:06d}", run_dir / "checkpoints" / f"step-{step:06d}")
    (run_dir / "checkpoints" / "LATEST").write_text(f"step-{step:06d}\n")
    train(name, run_dir, "exp_manager.resume_past_end=true")
    return run_dir


QUICK = {"causal-mega", "masked-bert"}  # the others take as long and differ little
RUNS = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in MODELS]


@pytest.mark.parametrize("name", RUNS)
def test_a_run_logs_its_metrics_goes_on_bit_by_bit_and_is_evaluated(name, tmp_path):
    straight = tmp_path / "straight"
    metrics = train(name, straight)
    logged = [json.loads(line) for line in (straight / "metrics.jsonl").read_text().splitlines()]
    for stage in ("train", "val"):
        assert {f"{stage}/loss", f"{stage}/accuracy"} <= metrics.keys()
        if not name.startswith("classes"):
            lines = [line for line in logged if f"{stage}/perplexity" in line]
            assert lines
            assert all(line[f"{stage}/perplexity"] == pytest.approx(math.exp(line[f"{stage}/loss"])) for line in lines)
        assert (f"{stage}/bits_per_byte" in metrics) == name.startswith("causal")
    assert ("val/macro_accuracy" in metrics) == name.startswith("classes")
    assert differences(straight, resumed(straight, tmp_path / "resumed", name, step=3), STEPS) == []
    checkpoint = straight / "checkpoints" / f"step-{STEPS:06d}"
    evaluation = train(name, tmp_path / "evaluated", "job_type=eval", f"resume_from_checkpoint={checkpoint}")
    assert evaluation["val/loss"] == pytest.approx(metrics["val/loss"])


@pytest.mark.parametrize(
    "name", ["causal-mega", *(pytest.param(name, marks=pytest.mark.slow) for name in ("causal-gpt2", "classes-mega"))]
)
def test_a_run_in_bf16_with_gradient_checkpointing_learns_in_fp32(name, tmp_path):
    settings = ["trainer.precision=bf16-mixed", "task.gradient_checkpointing=true"]
    low, full = train(name, tmp_path / "low", *settings), train(name, tmp_path / "full")
    assert low["val/loss"] == pytest.approx(full["val/loss"], abs=0.05)
