import pytest
from hydra import compose, initialize
from lightning.pytorch.callbacks import EarlyStopping, ProgressBar, TQDMProgressBar

from mmkit.errors import UsageError
from mmkit.experiment.run import build_trainer, check
from mmkit.trainer.progress import TimedProgressBar


@pytest.fixture
def make_cfg(tmp_path):
    def make(*overrides):
        with initialize(version_base="1.3", config_path=None):
            fixed = ["task=ContrastivePretraining", "experiment_name=x", f"trainer.default_root_dir={tmp_path}"]
            return compose("base_config", overrides=[*fixed, "trainer.accelerator=cpu", *overrides])

    return make


@pytest.mark.parametrize(
    ("override", "error", "message"),
    [
        pytest.param("job_type=test", UsageError, "job_type=test: it is train or eval", id="job-type"),
        pytest.param("exp_manager.version=a/b", UsageError, "version='a/b': it is the name of one folder", id="version"),
        pytest.param("test_after_fit=true", UsageError, "datasets.test is empty", id="nothing-to-test"),
    ],
)
def test_what_can_be_found_early_is_found_early(make_cfg, override, error, message):
    with pytest.raises(error, match=message):
        check(make_cfg(override))


def test_named_callbacks_and_loggers_become_lists_and_null_ones_are_left_out(make_cfg):
    cfg = make_cfg("+trainer/callbacks@trainer.callbacks.stop=EarlyStopping", "trainer.callbacks.stop.monitor=x",
                   "+trainer.callbacks.nothing=null", "trainer.logger=false")  # fmt: skip
    trainer = build_trainer(cfg.trainer)
    assert any(isinstance(callback, EarlyStopping) for callback in trainer.callbacks)
    assert trainer.loggers == []


def test_progress_bar_of_the_user_is_kept(make_cfg):
    ours = build_trainer(make_cfg("trainer.logger=false").trainer)
    assert [type(callback) for callback in ours.callbacks if isinstance(callback, ProgressBar)] == [TimedProgressBar]
    theirs = build_trainer(make_cfg("trainer.logger=false", "+trainer/callbacks@trainer.callbacks.bar=TQDMProgressBar").trainer)
    assert [type(callback) for callback in theirs.callbacks if isinstance(callback, ProgressBar)] == [TQDMProgressBar]
    none = build_trainer(make_cfg("trainer.logger=false", "trainer.enable_progress_bar=false").trainer)
    assert not any(isinstance(callback, ProgressBar) for callback in none.callbacks)


def test_precision_of_the_user_is_kept(make_cfg):
    assert build_trainer(make_cfg("trainer.logger=false", "trainer.precision=bf16-mixed").trainer).precision == "bf16-mixed"
