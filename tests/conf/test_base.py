import inspect
from dataclasses import fields

import pytest
from hydra import compose, initialize
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping
from omegaconf import MISSING, OmegaConf
from torch.utils.data import DataLoader

from mmkit.conf.base import (
    CheckpointConf,
    DataLoaderConf,
    EarlyStoppingConf,
    EmaConf,
    ExpManagerConf,
    MMKitConf,
    TrainerConf,
)
from mmkit.trainer.ema import ExponentialMovingAverage


# Where the documented default differs from the class's own: the documented one counts.
DOCUMENTED_TRAINER = {
    "enable_checkpointing": True,
    "enable_progress_bar": True,
    "enable_model_summary": True,
    "default_root_dir": "${hydra:runtime.output_dir}/checkpoints",
}
DOCUMENTED_LOADER = {"pin_memory": True}


def _config_defaults(conf):
    config = OmegaConf.structured(conf)
    keys = [field.name for field in fields(conf) if not field.name.startswith("_")]
    return {key: MISSING if OmegaConf.is_missing(config, key) else OmegaConf.to_container(config)[key] for key in keys}


@pytest.mark.parametrize(
    ("conf", "cls", "documented", "filled"),
    [
        pytest.param(TrainerConf, Trainer, DOCUMENTED_TRAINER, {}, id="Trainer"),
        pytest.param(DataLoaderConf, DataLoader, DOCUMENTED_LOADER, {"dataset": MISSING}, id="DataLoader"),
    ],
)
def test_config_carries_the_whole_signature_of_the_installed_version(conf, cls, documented, filled):
    parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
    expected = {parameter.name: parameter.default for parameter in parameters} | filled | documented
    actual = _config_defaults(conf)
    if conf is DataLoaderConf:
        assert actual.pop("collate_fn")["_target_"].endswith("DefaultDataCollator")
        expected.pop("collate_fn")
    assert actual == expected


def test_base_configuration_has_the_documented_keys():
    documented = ["experiment_name", "job_type", "seed", "datasets", "dataloader", "task", "trainer", "exp_manager", "tags"]
    documented += ["resume_from_checkpoint", "init_from", "allow_drift", "strict_loading", "torch_compile_kwargs", "dry_run"]
    with initialize(version_base="1.3", config_path=None):
        cfg = compose("base_config", overrides=["task=ContrastivePretraining", "experiment_name=x"])
    assert [key for key in cfg if key != "test_after_fit"] == documented
    assert (cfg.job_type, cfg.seed, cfg.strict_loading, list(cfg.tags)) == ("train", None, True, ["x"])
    assert dict(cfg.torch_compile_kwargs) == {
        "disable": True, "fullgraph": False, "dynamic": None, "backend": "inductor", "mode": None, "options": None,
    }  # fmt: skip


def test_a_value_of_the_wrong_type_is_refused():
    cfg = OmegaConf.structured(MMKitConf)
    with pytest.raises(Exception, match="could not be converted to Integer"):
        cfg.trainer.max_epochs = "abc"


def test_early_stopping_carries_the_signature_of_the_installed_version():
    parameters = list(inspect.signature(EarlyStopping).parameters.values())
    expected = {parameter.name: parameter.default for parameter in parameters} | {"monitor": "val/loss"}
    assert _config_defaults(EarlyStoppingConf) == expected


def test_average_of_weights_carries_the_arguments_of_its_callback():
    expected = {
        parameter.name: parameter.default for parameter in inspect.signature(ExponentialMovingAverage).parameters.values()
    }
    assert _config_defaults(EmaConf) == expected | {"enable": False}


def test_nothing_that_costs_or_stops_is_on_by_default():
    defaults = {field.name: field.default for field in fields(ExpManagerConf)}
    assert [name for name, value in defaults.items() if value is True] == ["create_checkpoint_callback", "log_step_timing"]
    assert (EmaConf.enable, ExpManagerConf.max_time_per_run) == (False, None)


def test_every_option_of_the_manager_is_documented():
    for conf in (ExpManagerConf, CheckpointConf):
        for name in (field.name for field in fields(conf)):
            assert f"\n        {name}: " in conf.__doc__, name
