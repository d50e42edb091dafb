"""A denoising VAE goes on bit by bit where it stopped, with its schedule, its noise and what it draws; and it is evaluated."""

import json

import pytest
from hydra import compose, initialize

from mmkit.experiment.run import run
from tests.reliability.exact_run import differences
from tests.tasks.test_language_runs import BYTES, STEPS, resumed


NOISE = f"{{_target_: mmkit.datasets.masking.BARTDenoising, tokenizer: {BYTES}}}"
SIZES = {"vocab_size": 260, "hidden_size": 8, "num_layers": 1, "num_attention_heads": 2}


def composed(run_dir, *overrides):
    processors = "dataloader.{}.collate_fn.batch_processors.text"
    schedule = "{schedule: cyclical, value: 1.0, total_steps: 8, num_cycles: 2}"
    settings = [
        "task=EncoderDecoderPretraining", "+models@task.model=EncoderDecoder", f"+task.tokenizer={BYTES}",
        "+modules/encoders@task.model.encoder=SequenceEncoder", "+modules/decoders@task.model.decoder=TransformerDecoder",
        *(f"task.model.{part}.{key}={value}" for part in ("encoder", "decoder") for key, value in SIZES.items()),
        "task.model.encoder.arch=perceiver", "task.model.decoder.memory_size=4", "task.num_reconstructions=3",
        "++task.model.hiddens.enc_output_name=z", "++task.model.hiddens.transform.q.cls_name=cond_gaussian",
        "++task.model.hiddens.transform.q.hidden_size=8", "++task.model.hiddens.transform.q.latent_size=4",
        f"++task.model.hiddens.loss.vae={{cls_name: vae, loss_weight: {schedule}}}",
        *(f"+datasets.{stage}.texts={{_target_: tests.tasks.texts.OnlyTexts}}" for stage in ("train", "val")),
        *(f"dataloader.{stage}={{batch_size: 3, pin_memory: false}}" for stage in ("train", "val")),
        f"+datasets/transforms@{processors.format('train')}=Compose",
        f"{processors.format('train')}.transforms=[{BYTES}, {NOISE}]",
        f"+datasets/tokenizers@{processors.format('val')}=ByteTokenizer", "dataloader.train.shuffle=true",
        "+modules/optimizers@task.optimizer=AdamW", "task.optimizer.lr=0.01", "experiment_name=small", "seed=3",
        f"trainer.max_steps={STEPS}", "trainer.accelerator=cpu", "trainer.log_every_n_steps=1", "trainer.val_check_interval=2",
        "trainer.enable_progress_bar=false", "trainer.enable_model_summary=false", f"trainer.default_root_dir={run_dir}",
        f"exp_manager.explicit_log_dir={run_dir}", "exp_manager.resume_if_exists=true",
        "exp_manager.resume_ignore_no_checkpoint=true", "exp_manager.checkpoint_callback_params.every_n_train_steps=1",
        "exp_manager.checkpoint_callback_params.save_top_k=-1",
    ]  # fmt: skip
    with initialize(version_base="1.3", config_path=None):
        return compose("base_config", overrides=[*settings, *overrides])


def train(_, run_dir, *overrides):
    return run(composed(run_dir, *overrides), run_dir).metrics


def test_a_run_goes_on_bit_by_bit_with_its_schedule_and_is_evaluated(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.tasks.test_language_runs.train", train)
    straight = tmp_path / "straight"
    metrics = train(None, straight)
    logged = [json.loads(line) for line in (straight / "metrics.jsonl").read_text().splitlines()]
    weights = [line["train/vae_weight"] for line in logged if "train/vae_weight" in line]
    assert weights[:STEPS] == pytest.approx([0, 0.5, 1, 1])  # cycles of four steps, of which two rise
    assert differences(straight, resumed(straight, tmp_path / "resumed", None, step=3), STEPS) == []
    checkpoint = straight / "checkpoints" / f"step-{STEPS:06d}"
    evaluation = train(None, tmp_path / "evaluated", "job_type=eval", f"resume_from_checkpoint={checkpoint}")
    for name in ("val/tokens_loss", "val/vae_kl", "val/q_kl", "val/exact_match"):
        assert evaluation[name] == pytest.approx(metrics[name])


def test_a_checkpoint_is_evaluated_with_the_weights_of_its_step(tmp_path):
    train(None, tmp_path / "run")
    logged = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    validation = next(line for line in logged if "val/loss" in line)
    checkpoint = tmp_path / "run" / "checkpoints" / "step-000002"
    evaluation = train(None, tmp_path / "evaluated", "job_type=eval", f"resume_from_checkpoint={checkpoint}")
    assert validation["val/vae_weight"] == 1  # at the start of a run it is 0
    for name in ("val/loss", "val/hiddens_loss", "val/vae_weight"):
        assert evaluation[name] == pytest.approx(validation[name])
