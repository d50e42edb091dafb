import functools
import math

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import Logger
from torch import nn
from torch.utils.data import DataLoader

from mmkit.datasets.core import CombinedDataset, DefaultDataCollator, Example
from mmkit.tasks.base import TrainingTask
from mmkit.tasks.contrastive_pretraining import ContrastivePretraining, LossPairSpec
from mmkit.tasks.hooks import EvaluationHooks, EvaluationSpec


class Vectors(torch.utils.data.Dataset):
    """The same random vector as image and text; ``keys`` chooses what an example has."""

    def __init__(self, keys=lambda index: ("rgb", "text"), size=32):
        self.keys = keys
        self.size = size

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        vector = torch.randn(4, generator=torch.Generator().manual_seed(index))
        return Example({"example_index": index, **dict.fromkeys(self.keys(index), vector)})


class Linear(nn.Module):
    def __init__(self, modality):
        super().__init__()
        self.modality = modality
        self.linear = nn.Linear(4, 4)

    def forward(self, inputs):
        return (nn.functional.normalize(self.linear(inputs[self.modality]), dim=-1),)


class RecordingLoss(nn.Module):
    """A loss that anybody can check: squared distance of the embeddings, in the order they come."""

    def __init__(self):
        super().__init__()
        self.pairs = None

    def forward(self, embeddings, example_ids, logit_scale, modality_loss_pairs):
        self.pairs = modality_loss_pairs
        return (embeddings["rgb_embedding"] - embeddings["text_embedding"]).square().sum(-1).mean() + 0 * logit_scale


class Counting(EvaluationHooks):
    def __init__(self):
        super().__init__()
        self.calls = []

    def on_evaluation_epoch_start(self, pl_module):
        self.calls.append("start")

    def evaluation_step(self, pl_module, batch, batch_idx):
        assert not torch.is_grad_enabled()
        assert not pl_module.training
        self.calls.append(tuple(batch["rgb_embedding"].shape))

    def on_evaluation_epoch_end(self, pl_module):
        self.calls.append("end")
        return {"answer": 42.0}


def make_task(**overrides):
    arguments = {
        "encoders": {"rgb": Linear("rgb"), "text": Linear("text")},
        "loss": RecordingLoss(),
        "optimizer": functools.partial(torch.optim.SGD, lr=0.1),
    }
    return ContrastivePretraining(**(arguments | overrides))


def loader(dataset=None, **overrides):
    combined = CombinedDataset([Vectors() if dataset is None else dataset])
    return DataLoader(combined, collate_fn=DefaultDataCollator(), **({"batch_size": 8} | overrides))


@pytest.fixture
def trainer(tmp_path):
    def make(**overrides):
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
        return Trainer(**({"accelerator": "cpu", "max_epochs": 1, "default_root_dir": tmp_path, **quiet} | overrides))

    return make


pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:.*number of training batches.*"),
    pytest.mark.filterwarnings("ignore:.*have no `val_dataloader`.*"),
    pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated"),
]


def test_training_lowers_the_loss_and_callbacks_see_it(trainer):
    task, runner = make_task(), trainer(max_epochs=3)
    before = {name: value.clone() for name, value in task.state_dict().items()}
    runner.fit(task, loader(), loader())
    assert {"train/loss", "val/loss", "train/logit_scale"} <= set(runner.callback_metrics)
    assert runner.callback_metrics["val/loss"] < 0.5
    assert not torch.equal(before["model.encoders.rgb.linear.weight"], task.state_dict()["model.encoders.rgb.linear.weight"])


def test_val_loss_is_the_mean_over_pairs_whatever_the_batch_size(trainer):
    task = make_task()
    values = []
    for batch_size in (5, 32):
        runner = trainer()
        runner.validate(task, loader(batch_size=batch_size), verbose=False)
        values.append(runner.callback_metrics["val/loss"].item())
    assert values[0] == pytest.approx(values[1], rel=1e-5)


def test_an_epoch_without_pairs_logs_no_loss_and_says_why(trainer):
    dataset = Vectors(keys=lambda index: ("rgb",) if index % 2 else ("text",))
    runner = trainer()
    with pytest.warns(
        UserWarning, match=r"No example of this epoch has both modalities of a pair \(rgb–text\), so val/loss is not"
    ):
        runner.validate(make_task(), loader(dataset), verbose=False)
    assert "val/loss" not in runner.callback_metrics


def test_evaluation_tasks_run_once_per_epoch_in_their_stages(trainer):
    on_val, on_test = Counting(), Counting()
    specs = {"a": EvaluationSpec(on_val, run_on_test=False), "b": {"task": on_test, "run_on_validation": False}}
    task, runner = make_task(evaluation_tasks=specs), trainer()
    runner.validate(task, loader(), verbose=False)
    assert on_val.calls == ["start", (8, 4), (8, 4), (8, 4), (8, 4), "end"]
    assert on_test.calls == []
    assert runner.callback_metrics["val/a/answer"] == 42
    runner.test(task, loader(), verbose=False)
    assert len(on_test.calls) == 6
    assert runner.callback_metrics["test/b/answer"] == 42
    assert "test/a/answer" not in runner.callback_metrics


class AuxiliaryNorm(TrainingTask):
    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder
        self.steps = []

    def training_step(self, batch, batch_idx):
        self.steps.append("train")
        return self.encoder.linear.weight.square().sum()

    def validation_step(self, batch, batch_idx):
        self.steps.append("val")
        return torch.tensor(7.0)


def test_auxiliary_tasks_never_train_or_log_training_during_validation(trainer):
    spec = {"norm": {"modality": "rgb", "task": functools.partial(AuxiliaryNorm), "loss_weight": 0.5}}
    task = make_task(auxiliary_tasks=spec, log_auxiliary_tasks_loss=True)
    runner = trainer()
    runner.validate(task, loader(), verbose=False)
    assert set(task.auxiliary_tasks["norm"].steps) == {"val"}
    metrics = runner.callback_metrics
    assert set(metrics) == {"val/loss", "val/contrastive_loss", "val/norm_loss"}
    assert metrics["val/norm_loss"] == 7
    assert metrics["val/loss"] == pytest.approx(metrics["val/contrastive_loss"] + 0.5 * 7)


def test_auxiliary_loss_trains_the_shared_encoder(trainer):
    spec = {"norm": {"modality": "rgb", "task": functools.partial(AuxiliaryNorm), "loss_weight": 2.0}}
    task = make_task(auxiliary_tasks=spec)
    before = task.model.encoders["rgb"].linear.weight.square().sum().item()
    trainer().fit(task, loader())
    assert task.auxiliary_tasks["norm"].encoder is task.model.encoders["rgb"]
    assert task.model.encoders["rgb"].linear.weight.square().sum().item() < before


def test_logit_scale_starts_as_given_and_stays_below_its_bound(trainer):
    class Greedy(nn.Module):
        def forward(self, embeddings, example_ids, logit_scale, modality_loss_pairs):
            return -logit_scale + 0 * sum(value.sum() for value in embeddings.values())

    task = make_task(loss=Greedy(), init_logit_scale=10, max_logit_scale=12)
    assert task.logit_scale.item() == pytest.approx(10)
    trainer().fit(task, loader())
    assert task.logit_scale.item() == pytest.approx(12)


def test_a_fixed_logit_scale_is_not_trained():
    task = make_task(learnable_logit_scale=False)
    assert not task.log_logit_scale.requires_grad
    assert task.log_logit_scale.item() == pytest.approx(math.log(1 / 0.07))


def test_all_pairs_of_modalities_are_compared_unless_told():
    encoders = {name: Linear(name) for name in ("rgb", "text", "audio")}
    pairs = make_task(encoders=encoders).modality_loss_pairs
    assert [pair.modalities for pair in pairs] == [("rgb", "text"), ("rgb", "audio"), ("text", "audio")]
    given = make_task(
        encoders=encoders, modality_loss_pairs=[{"modalities": ["rgb", "audio"], "weight": 2.0}]
    ).modality_loss_pairs
    assert given == [LossPairSpec(["rgb", "audio"], 2.0)]


def test_scheduler_extras_reach_lightning():
    scheduler = {"scheduler": functools.partial(torch.optim.lr_scheduler.StepLR, step_size=3), "extras": {"interval": "step"}}
    configured = make_task(lr_scheduler=scheduler).configure_optimizers()
    assert configured["lr_scheduler"]["interval"] == "step"
    assert configured["lr_scheduler"]["scheduler"].step_size == 3


@pytest.mark.parametrize(
    ("overrides", "error", "message"),
    [
        pytest.param({"loss": None}, ValueError, r"There is no loss. Name one in the defaults list", id="no-loss"),
        pytest.param(
            {"modality_loss_pairs": [{"modalities": ["rgb", "audio"]}]}, ValueError,
            r"names 'audio', which has no encoder. Encoders exist for: rgb, text", id="pair-without-encoder",
        ),
        pytest.param(
            {"auxiliary_tasks": {"a": {"modality": "audio", "task": AuxiliaryNorm}}}, ValueError,
            r"names the modality 'audio'. Known: rgb, text", id="auxiliary-without-encoder",
        ),
        pytest.param({"lr_scheduler": {"T_max": 3}}, ValueError, r"it takes a partial, or `scheduler`", id="scheduler-keys"),
        pytest.param(
            {"evaluation_tasks": {"a": {"task": nn.Identity()}}}, TypeError,
            r"evaluation_tasks.a.task is a Identity; it must extend mmkit.tasks.hooks", id="not-an-evaluation-task",
        ),
    ],
)  # fmt: skip
def test_mistakes_are_named_when_the_task_is_built(overrides, error, message):
    with pytest.raises(error, match=message):
        make_task(**overrides)


def test_training_without_an_optimizer_names_what_to_add(trainer):
    with pytest.raises(ValueError, match=r"ContrastivePretraining has no optimizer. Name one"):
        trainer().fit(make_task(optimizer=None), loader())


def test_training_without_a_loss_is_refused_before_the_first_step(trainer):
    task = make_task(loss=None, compute_validation_loss=False, compute_test_loss=False)
    with pytest.raises(ValueError, match="Training needs a loss"):
        trainer().fit(task, loader())


def test_checkpoint_loads_under_weights_only_and_holds_no_partials(trainer, tmp_path):
    task, runner = make_task(), trainer()
    runner.fit(task, loader())
    runner.save_checkpoint(tmp_path / "a.ckpt")
    checkpoint = torch.load(tmp_path / "a.ckpt", weights_only=True)
    assert "hyper_parameters" not in checkpoint
    other = make_task()
    trainer(max_epochs=2).fit(other, loader(), ckpt_path=tmp_path / "a.ckpt", weights_only=True)
    assert other.global_step == 8


def test_a_checkpoint_is_evaluated_with_other_evaluation_tasks(trainer, tmp_path):
    class WithState(Counting):
        def __init__(self):
            super().__init__()
            self.probe = nn.Linear(2, 2)

    trained, runner = make_task(evaluation_tasks={"old": {"task": WithState()}}), trainer()
    runner.fit(trained, loader())
    runner.save_checkpoint(tmp_path / "a.ckpt")
    fresh = make_task(evaluation_tasks={"new": {"task": WithState()}})
    trainer().validate(fresh, loader(), ckpt_path=tmp_path / "a.ckpt", weights_only=True, verbose=False)
    weight = "model.encoders.rgb.linear.weight"
    assert torch.equal(fresh.state_dict()[weight], trained.state_dict()[weight])


def test_a_task_that_encodes_nothing_alone_says_so():
    with pytest.raises(NotImplementedError, match="LogsBatchNumbers embeds no single modality"):
        LogsBatchNumbers().encode({}, "rgb")


class Memory(Logger):
    name, version = "memory", 0

    def __init__(self):
        super().__init__()
        self.rows = []

    def log_metrics(self, metrics, step=None):
        self.rows.append((step, metrics))

    def log_hyperparams(self, params, *args, **kwargs):
        pass


class LogsBatchNumbers(TrainingTask):
    def __init__(self):
        super().__init__(optimizer=functools.partial(torch.optim.SGD, lr=0.1))
        self.weight = nn.Parameter(torch.zeros(1))

    def training_step(self, batch, batch_idx):
        self.log_step({"number": torch.tensor(float(batch_idx))})
        return self.weight.sum()


@pytest.mark.parametrize(
    ("accumulate", "expected"),
    [
        pytest.param(1, [(2, 0.5), (4, 2.5), (5, 4.0)], id="every-batch"),
        pytest.param(2, [(2, 1.5), (3, 4.0)], id="two-batches-a-step"),
    ],
)
def test_loggers_get_the_mean_of_the_steps_since_the_last_time(trainer, accumulate, expected):
    memory = Memory()
    runner = trainer(logger=memory, log_every_n_steps=2, accumulate_grad_batches=accumulate)
    runner.fit(LogsBatchNumbers(), loader(Vectors(size=40)))
    assert [(step, metrics["train/number"]) for step, metrics in memory.rows if "train/number" in metrics] == expected
    assert runner.callback_metrics["train/number"] == 2
