"""The base configuration of every experiment.

``dataloader.*`` and ``trainer`` carry the whole signature of torch's ``DataLoader`` and Lightning's ``Trainer`` with their types,
written down here so that a configuration is composed and checked without importing either; a test holds them against the
installed versions.
"""

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from mmkit.conf.lazy_store import install_lazy_store
from mmkit.conf.run_version import register_resolver


@dataclass
class DatasetsConf:
    """Data sets by split: one, or several by a name of your choice. All of a split are combined."""

    train: Any = None
    val: Any = None
    test: Any = None


@dataclass
class CollatorConf:
    """``mmkit.datasets.core.DefaultDataCollator``."""

    _target_: str = "mmkit.datasets.core.data_collator.DefaultDataCollator"
    batch_processors: dict[str, Any] | None = None


@dataclass
class DataLoaderConf:
    """``torch.utils.data.DataLoader``; ``dataset`` is filled from ``datasets``."""

    _target_: str = "torch.utils.data.dataloader.DataLoader"
    _convert_: str = "object"
    dataset: Any = MISSING
    batch_size: int | None = 1
    shuffle: bool | None = None
    sampler: Any = None
    batch_sampler: Any = None
    num_workers: int = 0
    collate_fn: Any = field(default_factory=CollatorConf)
    pin_memory: bool = True
    drop_last: bool = False
    timeout: float = 0.0
    worker_init_fn: Any = None
    multiprocessing_context: Any = None
    generator: Any = None
    prefetch_factor: int | None = None
    persistent_workers: bool = False
    pin_memory_device: str = ""
    in_order: bool = True


@dataclass
class LoadersConf:
    """One loader per split."""

    train: DataLoaderConf = field(default_factory=DataLoaderConf)
    val: DataLoaderConf = field(default_factory=DataLoaderConf)
    test: DataLoaderConf = field(default_factory=DataLoaderConf)


@dataclass
class TrainerConf:
    """``lightning.pytorch.Trainer``; ``logger`` and ``callbacks`` hold components by a name of your choice."""

    _target_: str = "lightning.pytorch.trainer.trainer.Trainer"
    accelerator: Any = "auto"
    strategy: Any = "auto"
    devices: Any = "auto"
    num_nodes: int = 1
    precision: Any = None
    logger: Any = None
    callbacks: Any = None
    fast_dev_run: Any = False
    max_epochs: int | None = None
    min_epochs: int | None = None
    max_steps: int = -1
    min_steps: int | None = None
    max_time: Any = None
    limit_train_batches: Any = None
    limit_val_batches: Any = None
    limit_test_batches: Any = None
    limit_predict_batches: Any = None
    overfit_batches: Any = 0.0
    val_check_interval: Any = None
    check_val_every_n_epoch: int | None = 1
    num_sanity_val_steps: int | None = None
    log_every_n_steps: int | None = None
    enable_checkpointing: bool | None = True
    enable_progress_bar: bool | None = True
    enable_model_summary: bool | None = True
    accumulate_grad_batches: int = 1
    gradient_clip_val: float | None = None
    gradient_clip_algorithm: str | None = None
    deterministic: Any = None
    benchmark: bool | None = None
    inference_mode: bool = True
    use_distributed_sampler: bool = True
    profiler: Any = None
    detect_anomaly: bool = False
    barebones: bool = False
    plugins: Any = None
    sync_batchnorm: bool = False
    reload_dataloaders_every_n_epochs: int = 0
    default_root_dir: str | None = "${hydra:runtime.output_dir}/checkpoints"
    enable_autolog_hparams: bool = True
    model_registry: str | None = None


@dataclass
class CompileConf:
    """Arguments of ``torch.compile`` for the task; off unless ``disable`` is false."""

    disable: bool = True
    fullgraph: bool = False
    dynamic: bool | None = None
    backend: str = "inductor"
    mode: str | None = None
    options: dict[str, Any] | None = None


@dataclass
class CheckpointConf:
    """When a run is saved, and what is kept.

    Attributes:
        monitor: The metric by which checkpoints are the best; null keeps the newest.
        mode: ``min`` or ``max``.
        save_top_k: How many of the best are kept, besides the newest two; -1 keeps all.
        save_last: Save once more when the training ends.
        every_n_train_steps: Optimizer steps between two saves. Without this and the next: after every validation and epoch.
        every_n_epochs: Epochs between two saves.
        train_time_interval: Time between two saves, e.g. ``"00:30:00"``; counts besides the others.
        asynchronous: Write while the training goes on.
    """

    monitor: str | None = None
    mode: str = "min"
    save_top_k: int = 1
    save_last: bool = True
    every_n_train_steps: int | None = None
    every_n_epochs: int | None = None
    train_time_interval: Any = None
    asynchronous: bool = True


@dataclass
class EarlyStoppingConf:
    """``lightning.pytorch.callbacks.EarlyStopping``."""

    monitor: str = "val/loss"
    min_delta: float = 0.0
    patience: int = 3
    verbose: bool = False
    mode: str = "min"
    strict: bool = True
    check_finite: bool = True
    stopping_threshold: float | None = None
    divergence_threshold: float | None = None
    check_on_train_epoch_end: bool | None = None
    log_rank_zero_only: bool = False


@dataclass
class EmaConf:
    """``ExponentialMovingAverage`` of ``trainer/callbacks``, if ``enable`` is true."""

    enable: bool = False
    decay: float = 0.999
    every_n_steps: int = 1
    start_step: int = 0
    warmup: bool = False
    evaluate: bool = True


@dataclass
class ExpManagerConf:
    """Where a run lives, and what surrounds its training.

    Attributes:
        exp_dir: Folder of all experiments.
        name: Folder of this experiment's runs in it.
        version: Folder of this run in that. Default: ``$MMKIT_VERSION``, else date, time and a short random id.
        explicit_log_dir: The run's directory, instead of ``exp_dir/name/version``.
        resume_if_exists: Continue the run that is in the directory; without ``version``, the newest one of this name.
        resume_ignore_no_checkpoint: With ``resume_if_exists``, start from the beginning if there is nothing to continue.
        resume_past_end: Continue a run that has finished, e.g. with more epochs.
        create_checkpoint_callback: Save checkpoints.
        checkpoint_callback_params: When, and which are kept.
        create_early_stopping_callback: Stop when a metric does not improve.
        early_stopping_callback_params: Which metric, and for how long.
        create_csv_logger: Log to ``csv/version_0/metrics.csv``. (``metrics.jsonl`` is always written.)
        csv_logger_kwargs: Arguments of Lightning's ``CSVLogger``.
        create_tensorboard_logger: Log event files to ``tensorboard/``.
        summary_writer_kwargs: Arguments of Lightning's ``TensorBoardLogger``.
        create_wandb_logger: Log to Weights & Biases; offline unless it can be reached and there is an API key.
        wandb_logger_kwargs: Arguments of Lightning's ``WandbLogger``; others go to ``wandb.init``.
        create_mlflow_logger: Log to MLflow; by default to files in ``mlruns/``.
        mlflow_logger_kwargs: Arguments of Lightning's ``MLFlowLogger``.
        ema: Evaluate with a moving average of the weights.
        log_step_timing: Log how long steps take and how long they wait for data.
        max_time_per_run: Save and stop after this time, e.g. ``"23:30:00"``; the run can be resumed.
        files_to_copy: Files that are copied into ``files/``.
        log_local_rank_0_only: Write a log file only for the first rank of every machine.
        record_inputs: Write down a digest of every training batch, to compare two runs.
    """

    exp_dir: str = "outputs"
    name: str = "${experiment_name}"
    version: str | None = None
    explicit_log_dir: str | None = None
    resume_if_exists: bool = False
    resume_ignore_no_checkpoint: bool = False
    resume_past_end: bool = False
    create_checkpoint_callback: bool = True
    checkpoint_callback_params: CheckpointConf = field(default_factory=CheckpointConf)
    create_early_stopping_callback: bool = False
    early_stopping_callback_params: EarlyStoppingConf = field(default_factory=EarlyStoppingConf)
    create_csv_logger: bool = False
    csv_logger_kwargs: dict[str, Any] = field(default_factory=lambda: {"flush_logs_every_n_steps": 100})
    create_tensorboard_logger: bool = False
    summary_writer_kwargs: dict[str, Any] = field(default_factory=lambda: {"log_graph": False, "default_hp_metric": False})
    create_wandb_logger: bool = False
    wandb_logger_kwargs: dict[str, Any] = field(default_factory=lambda: {"project": "${experiment_name}", "name": None})
    create_mlflow_logger: bool = False
    mlflow_logger_kwargs: dict[str, Any] = field(
        default_factory=lambda: {"experiment_name": "${experiment_name}", "run_name": None}
    )
    ema: EmaConf = field(default_factory=EmaConf)
    log_step_timing: bool = True
    max_time_per_run: Any = None
    files_to_copy: list[str] | None = None
    log_local_rank_0_only: bool = False
    record_inputs: bool = False


@dataclass
class MMKitConf:
    """An experiment.

    Attributes:
        experiment_name: Names the run's directory.
        job_type: ``train``, or ``eval`` to evaluate ``resume_from_checkpoint`` (or the task as it is built).
        seed: Seed of all random number generators; null leaves them as they are.
        datasets: Data sets by split.
        dataloader: Loaders by split.
        task: The task.
        trainer: The trainer.
        exp_manager: The run's directory, checkpoints, resuming and loggers.
        tags: Tags for loggers that take them.
        resume_from_checkpoint: A checkpoint to continue or to evaluate: its path, the directory of its run, or ``latest`` or
            ``best`` of the newest run of this experiment.
        init_from: Weights to begin with: an archive, a checkpoint or a pretrained name.
        allow_drift: Resume even if the configuration describes another model than the checkpoint's.
        strict_loading: Whether a checkpoint must have exactly the task's parameters.
        torch_compile_kwargs: Arguments of ``torch.compile``.
        dry_run: Print the plan of the experiment, as ``mmkit plan`` does, instead of running it.
        test_after_fit: Test once the training is done, with the best checkpoint if one is monitored.
        hydra: Hydra's own settings, which leave files and directories to mmkit; not part of the job's configuration.
    """

    defaults: list[Any] = field(default_factory=lambda: ["_self_", {"task": MISSING}, {"override hydra/job_logging": "mmkit"}])
    experiment_name: str = MISSING
    job_type: str = "train"
    seed: int | None = None
    datasets: DatasetsConf = field(default_factory=DatasetsConf)
    dataloader: LoadersConf = field(default_factory=LoadersConf)
    task: Any = MISSING
    trainer: TrainerConf = field(default_factory=TrainerConf)
    exp_manager: ExpManagerConf = field(default_factory=ExpManagerConf)
    tags: list[str] | None = field(default_factory=lambda: ["${experiment_name}"])
    resume_from_checkpoint: str | None = None
    init_from: Any = None
    allow_drift: bool = False
    strict_loading: bool = True
    torch_compile_kwargs: CompileConf = field(default_factory=CompileConf)
    dry_run: bool = False
    test_after_fit: bool = False
    hydra: Any = field(default_factory=lambda: dict(_HYDRA))


_HYDRA = {
    "job": {"name": "mmkit_run", "chdir": False},
    "callbacks": {"redact_sweep": {"_target_": "mmkit.experiment.sweep_record.RedactSweep"}},
    "output_subdir": None,  # would hold secrets, and be written before the directory is claimed
    "run": {"dir": "${mmkit.run_dir:}"},
    "sweep": {"dir": "${mmkit.run_dir:sweep}", "subdir": "${hydra.job.num}"},
    "help": {  # $APP_CONFIG_GROUPS would list, hence import, every group
        "app_name": "mmkit_run",
        "template": "mmkit_run +experiment=NAME [key=value ...]\n\n== Configuration of this experiment ==\n$CONFIG",
    },
}

# Hydra's own would open a file in the run's directory before that is claimed.
_CONSOLE = {
    "version": 1,
    "formatters": {"simple": {"format": "[%(asctime)s][%(name)s][%(levelname)s] - %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "simple", "stream": "ext://sys.stdout"}},
    "root": {"level": "INFO", "handlers": ["console"]},
    "loggers": {  # device table and product tips; a line from every rank
        "lightning.pytorch": {"level": "WARNING"},
        "lightning.fabric": {"level": "WARNING"},
    },
    "disable_existing_loggers": False,
}

install_lazy_store()
register_resolver()
ConfigStore.instance().store(group="hydra/job_logging", name="mmkit", node=_CONSOLE, provider="mmkit")
ConfigStore.instance().store(name="base_config", node=MMKitConf, provider="mmkit")
