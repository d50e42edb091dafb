import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn
from torch.utils.data import DataLoader

from mmkit.trainer.ema import ExponentialMovingAverage


pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:.*dataloader is not resumable.*"),
]
BATCHES = 6


class Net(LightningModule):
    """A layer whose weight is used twice, one that is frozen, and a buffer; every batch is the same."""

    def __init__(self, dtype=torch.float32, fail_in_validation=False):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layer = nn.Linear(3, 3, dtype=dtype)
            self.tied = self.layer
            self.frozen = nn.Linear(3, 3, dtype=dtype).requires_grad_(False)
            self.norm = nn.BatchNorm1d(3, dtype=dtype)
        self.fail_in_validation = fail_in_validation
        self.seen = []

    def training_step(self, batch, batch_idx):
        x = torch.linspace(-1, 1, 12, dtype=self.layer.weight.dtype).view(4, 3) * (1 + batch_idx)
        return self.norm(self.frozen(self.layer(x))).sin().sum() + self.tied.weight.pow(2).sum()

    def validation_step(self, batch, batch_idx):
        self.seen.append(self.layer.weight.detach().clone())
        if self.fail_in_validation:
            raise RuntimeError("planted")

    test_step = validation_step

    def predict_step(self, batch, batch_idx):
        return self.seen.append(self.layer.weight.detach().clone()) or batch

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=0.1)


class Recorder(Callback):
    """The weight after every optimizer step, the first being the initial one."""

    def __init__(self):
        self.weights, self.step = [], 0

    def on_train_start(self, trainer, net):
        self.weights = [net.layer.weight.detach().clone()]

    def on_train_batch_end(self, trainer, net, *args):
        if trainer.global_step > self.step:
            self.step = trainer.global_step
            self.weights.append(net.layer.weight.detach().clone())


def make_trainer(*callbacks, **settings):
    quiet = {"logger": False, "enable_checkpointing": False, "enable_model_summary": False, "enable_progress_bar": False}
    return Trainer(accelerator="cpu", callbacks=list(callbacks), num_sanity_val_steps=0, **{**quiet, "max_epochs": 2, **settings})


def loader():
    return DataLoader(torch.zeros(BATCHES, 1))


def fit(net, *callbacks, ckpt_path=None, **settings):
    trainer = make_trainer(*callbacks, **settings)
    trainer.fit(net, loader(), loader(), ckpt_path=ckpt_path, weights_only=True)
    return trainer


def expected_average(weights, decay, every, start, warmup):
    if len(weights) <= start:
        return weights[-1].numpy()
    average, updates = weights[start].double().numpy().copy(), 0
    for step in range(start + 1, len(weights)):
        if step % every == 0:
            updates += 1
            rate = min(decay, (1 + updates) / (10 + updates)) if warmup else decay
            average = rate * average + (1 - rate) * weights[step].double().numpy()
    return average


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize(
    "settings", [{}, {"every_n_steps": 3}, {"start_step": 4}, {"warmup": True}, {"start_step": 100}], ids=lambda s: str(s)
)
def test_the_average_is_the_one_that_numpy_computes(settings, accumulate):
    ema, recorder, net = ExponentialMovingAverage(decay=0.8, **settings), Recorder(), Net(torch.float64)
    fit(net, ema, recorder, accumulate_grad_batches=accumulate)
    options = {"every_n_steps": 1, "start_step": 0, "warmup": False, **settings}
    expected = expected_average(recorder.weights, 0.8, *options.values())
    assert len(recorder.weights) == 1 + 2 * BATCHES // accumulate
    np.testing.assert_allclose(ema.averaged_state_dict(net)["layer.weight"].numpy(), expected, rtol=1e-13)


def test_validation_and_test_see_the_average_and_training_does_not():
    ema, recorder, net = ExponentialMovingAverage(decay=0.5), Recorder(), Net()
    trainer = fit(net, ema, recorder)
    plain = Recorder()
    fit(Net(), plain)
    assert all(torch.equal(a, b) for a, b in zip(recorder.weights, plain.weights, strict=True))
    for epoch in (0, 1):
        expected = expected_average(recorder.weights[: 1 + (epoch + 1) * BATCHES], 0.5, 1, 0, False)
        np.testing.assert_allclose(net.seen[epoch * BATCHES].numpy(), expected, rtol=1e-5)
    assert torch.equal(net.layer.weight, recorder.weights[-1])
    net.seen.clear()
    trainer.test(net, loader(), verbose=False)
    trainer.predict(net, loader())
    assert all(torch.equal(seen, ema.averaged_state_dict(net)["layer.weight"]) for seen in net.seen)
    assert torch.equal(net.layer.weight, recorder.weights[-1])


def test_validation_sees_the_own_weights_if_asked():
    recorder, net = Recorder(), Net()
    fit(net, ExponentialMovingAverage(decay=0.5, evaluate=False), recorder)
    assert torch.equal(net.seen[-1], recorder.weights[-1])


def test_own_weights_come_back_after_an_error_in_validation():
    recorder, net = Recorder(), Net(fail_in_validation=True)
    with pytest.raises(RuntimeError, match="planted"):
        fit(net, ExponentialMovingAverage(decay=0.5), recorder)
    assert torch.equal(net.layer.weight, recorder.weights[-1])
    assert not torch.equal(net.seen[-1], recorder.weights[-1])


class SaveBetweenSteps(Callback):
    def __init__(self, directory):
        self.directory = directory

    def on_train_batch_start(self, trainer, net, batch, batch_idx):
        if batch_idx % 2 == 0 and trainer.global_step:
            trainer.save_checkpoint(self.directory / f"{trainer.global_step}.ckpt")


def test_a_run_resumed_at_any_step_ends_with_the_same_average(tmp_path):
    settings = {"decay": 0.9, "warmup": True, "start_step": 1}
    straight, whole = ExponentialMovingAverage(**settings), Net()
    fit(whole, straight, SaveBetweenSteps(tmp_path), accumulate_grad_batches=2)
    expected = straight.averaged_state_dict(whole)
    assert len(list(tmp_path.iterdir())) == BATCHES - 1
    for path in tmp_path.iterdir():
        resumed, net = ExponentialMovingAverage(**settings), Net()
        fit(net, resumed, accumulate_grad_batches=2, ckpt_path=path)
        assert resumed.num_updates == straight.num_updates == BATCHES - 1
        assert all(torch.equal(value, whole.state_dict()[name]) for name, value in net.state_dict().items())
        assert all(torch.equal(value, expected[name]) for name, value in resumed.averaged_state_dict(net).items())


class SaveInValidation(Callback):
    def __init__(self, path):
        self.path = path

    def on_validation_batch_start(self, trainer, net, batch, batch_idx, dataloader_idx=0):
        if batch_idx == 2:
            trainer.save_checkpoint(self.path)


def test_a_checkpoint_made_during_validation_has_the_own_weights_and_the_average(tmp_path):
    ema, recorder, net = ExponentialMovingAverage(decay=0.5), Recorder(), Net()
    fit(net, ema, recorder, SaveInValidation(tmp_path / "a.ckpt"), max_epochs=1)
    saved = torch.load(tmp_path / "a.ckpt", weights_only=True)
    assert torch.equal(saved["state_dict"]["layer.weight"], recorder.weights[-1])
    assert torch.equal(saved["state_dict"]["tied.weight"], recorder.weights[-1])
    averages = saved["callbacks"]["ExponentialMovingAverage"]["averages"]
    assert torch.equal(averages["layer.weight"], net.seen[-1])
    assert sorted(averages) == ["layer.bias", "layer.weight", "norm.bias", "norm.weight"]


def test_a_checkpoint_is_tested_with_the_average_it_holds(tmp_path):
    ema, net = ExponentialMovingAverage(decay=0.5), Net()
    fit(net, ema).save_checkpoint(tmp_path / "a.ckpt")
    expected = ema.averaged_state_dict(net)["layer.weight"]
    fresh = Net()
    trainer = make_trainer(ExponentialMovingAverage(decay=0.5))
    trainer.test(fresh, loader(), ckpt_path=tmp_path / "a.ckpt", weights_only=True, verbose=False)
    assert torch.equal(fresh.seen[0], expected)
    assert torch.equal(fresh.layer.weight, net.layer.weight)


def test_exported_weights_load_into_a_module_and_keep_its_buffers():
    ema, net = ExponentialMovingAverage(decay=0.5), Net()
    fit(net, ema)
    fresh = Net()
    fresh.load_state_dict(ema.averaged_state_dict(net))
    assert torch.equal(fresh.tied.weight, net.seen[-1])
    assert torch.equal(fresh.norm.running_mean, net.norm.running_mean)
    assert torch.equal(fresh.frozen.weight, net.frozen.weight)


def test_the_average_of_a_bfloat16_model_moves():
    net, ema = Net(torch.bfloat16), ExponentialMovingAverage(decay=0.9999)
    fit(net, ema, limit_val_batches=0)
    average = ema.state_dict()["averages"]["layer.weight"]
    assert average.dtype == torch.float32
    assert (average != Net(torch.bfloat16).layer.weight).all()
    assert ema.averaged_state_dict(net)["layer.weight"].dtype == torch.bfloat16


class Thaw(Callback):
    def on_train_epoch_start(self, trainer, net):
        net.frozen.requires_grad_(trainer.current_epoch > 0)


def test_parameters_that_become_trainable_are_averaged_from_then_on():
    ema, net = ExponentialMovingAverage(decay=0.5), Net()
    fit(net, Thaw(), ema, limit_val_batches=0)
    assert "frozen.weight" in ema.state_dict()["averages"]
    assert not torch.equal(ema.averaged_state_dict(net)["frozen.weight"], net.frozen.weight)


def test_an_average_of_another_model_is_refused():
    ema = ExponentialMovingAverage()
    ema.load_state_dict({"num_updates": 1, "averages": {"layer.weight": torch.zeros(3, 3), "head.weight": torch.zeros(2)}})
    with pytest.raises(ValueError, match=r"The averages of head.weight fit no parameter of Net"):
        ema.averaged_state_dict(Net())


@pytest.mark.parametrize("settings", [{"decay": 1.0}, {"decay": -0.1}, {"every_n_steps": 0}, {"start_step": -1}], ids=str)
def test_impossible_settings_are_refused(settings):
    with pytest.raises(ValueError, match=f"{next(iter(settings))}={next(iter(settings.values()))}"):
        ExponentialMovingAverage(**settings)
