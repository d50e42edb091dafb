"""What is right is never refused: every shipped experiment with twenty sets of overrides."""

import pytest

from mmkit.cli.preflight import answer


COMMON = [
    (),
    ("seed=7", "experiment_name=mine"),
    ("seed=null", "tags=null", "trainer.max_epochs=3", "trainer.max_steps=-1"),
    ("trainer.fast_dev_run=true", "trainer.accelerator=cpu", "trainer.devices=1", "trainer.logger=false"),
    ("+trainer=bf16", "trainer.gradient_clip_val=1", "trainer.limit_val_batches=0.5"),
    ("modules/optimizers@task.optimizer=SGD", "task.optimizer.lr=0.1", "task.optimizer.momentum=0.9"),
    ("modules/losses@task.loss=ContrastiveLoss", "task.loss.l2_normalize=false"),
    ("~modules/lr_schedulers@task.lr_scheduler.scheduler", "task.lr_scheduler=null"),
    ("++task.optimizer.weight_decay=0.2", "++trainer.max_epochs=5"),
    ("dataloader.train.batch_size=32", "dataloader.train.num_workers=2", "dataloader.train.persistent_workers=true"),
    ("+trainer/callbacks@trainer.callbacks.ema=ExponentialMovingAverage", "trainer.callbacks.ema.decay=0.99"),
    ("exp_manager.resume_if_exists=true", "exp_manager.resume_ignore_no_checkpoint=true", "exp_manager.version=v1"),
    (
        "exp_manager.create_wandb_logger=true",
        "+exp_manager.wandb_logger_kwargs.entity=me",
        "'+exp_manager.wandb_logger_kwargs.tags=[a,b]'"[1:-1],
    ),
    ("exp_manager.checkpoint_callback_params.every_n_train_steps=10", "exp_manager.max_time_per_run='00:10:00'"),
    ("hydra.job.name=x", "hydra.run.dir=out/${experiment_name}", "hydra.verbose=true"),
    ("+width=8", "task.loss.l2_normalize=${test_after_fit}", "exp_manager.name=w${width}"),
    ("exp_manager.exp_dir=${oc.env:HOME}/runs", "exp_manager.version=${oc.env:NOT_SET_ANYWHERE,none}"),
    ("-m", "seed=1,2", "hydra/launcher=basic"),
    ("--multirun", "task.optimizer.lr=choice(0.1,0.2)", "hydra/launcher=basic", "hydra.sweep.subdir=x${hydra.job.num}"),
    ("torch_compile_kwargs.disable=false", "torch_compile_kwargs.mode=max-autotune", "test_after_fit=false", "job_type=train"),
]
NEEDED = {
    "emoji_search": ("resume_from_checkpoint=best", "task.evaluation_tasks.search.task.query=drink"),
}
EXPERIMENTS = ["emoji_clip", "emoji_scratch", "emoji_search", "emoji_three_way", "emoji_zeroshot"]


def case(number, experiment, overrides):
    """A few of each by default: every one composes a configuration or two."""
    marks = [] if number % 7 == EXPERIMENTS.index(experiment) else [pytest.mark.slow]
    return pytest.param(experiment, overrides, id=f"{experiment}-{number}", marks=marks)


@pytest.mark.parametrize(
    ("experiment", "overrides"),
    [case(number, experiment, overrides) for experiment in EXPERIMENTS for number, overrides in enumerate(COMMON)],
)
def test_what_is_right_is_not_refused(home, experiment, overrides):
    assert answer([f"experiment={experiment}", *NEEDED.get(experiment, ()), *overrides]) == (0, "")


@pytest.mark.parametrize(
    "typed",
    [
        ("+experiment=[emoji_clip]",),
        ("-m", "experiment=choice(emoji_clip,emoji_scratch)"),
        ("-m", "experiment=glob(emoji_c*)"),
        ("-m", "experiment=emoji_clip, emoji_scratch"),
    ],
    ids=" ".join,
)
def test_experiments_are_named_in_every_way_that_hydra_takes(typed):
    assert answer(typed) == (0, "")
