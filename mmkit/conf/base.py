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
        tags: Tags for loggers that take them.
        resume_from_checkpoint: Path of a checkpoint to continue or to evaluate.
        strict_loading: Whether a checkpoint must have exactly the task's parameters.
        torch_compile_kwargs: Arguments of ``torch.compile``.
        test_after_fit: Test once the training is done, with the best checkpoint if one is monitored.
        hydra: Hydra's own settings; not part of the job's configuration.
    """

    defaults: list[Any] = field(default_factory=lambda: ["_self_", {"task": MISSING}])
    experiment_name: str = MISSING
    job_type: str = "train"
    seed: int | None = None
    datasets: DatasetsConf = field(default_factory=DatasetsConf)
    dataloader: LoadersConf = field(default_factory=LoadersConf)
    task: Any = MISSING
    trainer: TrainerConf = field(default_factory=TrainerConf)
    tags: list[str] | None = field(default_factory=lambda: ["${experiment_name}"])
    resume_from_checkpoint: str | None = None
    strict_loading: bool = True
    torch_compile_kwargs: CompileConf = field(default_factory=CompileConf)
    test_after_fit: bool = False
    hydra: Any = field(default_factory=lambda: dict(_HYDRA))


_HYDRA = {
    "job": {"name": "mmkit_run", "chdir": False},
    "job_logging": {"loggers": {"lightning.pytorch": {"level": "WARNING"}}},  # its device table and product tips
    "run": {"dir": "outputs/${experiment_name}/${now:%Y-%m-%d}/${now:%H-%M-%S}"},
    "sweep": {"dir": "outputs/${experiment_name}/${now:%Y-%m-%d}/${now:%H-%M-%S}", "subdir": "${hydra.job.num}"},
    "help": {  # $APP_CONFIG_GROUPS would list, hence import, every group
        "app_name": "mmkit_run",
        "template": "mmkit_run +experiment=NAME [key=value ...]\n\n== Configuration of this experiment ==\n$CONFIG",
    },
}

install_lazy_store()
ConfigStore.instance().store(name="base_config", node=MMKitConf, provider="mmkit")
