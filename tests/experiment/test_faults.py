import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.utils.data import DataLoader, Dataset

from mmkit.errors import NonFiniteError
from mmkit.experiment.faults import NonFiniteGuard, all_finite, not_finite


HERE = Path(__file__).parent
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:`training_step` returned `None`.*"),
]


class Examples(Dataset):
    """``value`` is NaN or infinite for one example."""

    def __init__(self, bad_index=None, bad=float("nan")):
        self.bad_index, self.bad = bad_index, bad

    def __len__(self):
        return 60

    def __getitem__(self, index):
        return {"value": torch.tensor(self.bad if index == self.bad_index else 1.0), "ids": torch.tensor([7, index])}


def collate(examples):
    return {
        "value": torch.stack([example["value"] for example in examples]),
        "example_ids": {"rgb": torch.stack([example["ids"] for example in examples])},
    }


class Model(LightningModule):
    def __init__(self, break_weights_at=None, skip=()):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.frozen = torch.nn.Parameter(torch.tensor(float("nan")), requires_grad=False)
        self.break_weights_at, self.skip = break_weights_at, skip
        self.trained = 0

    def training_step(self, batch, batch_idx):
        self.trained += 1
        if batch_idx in self.skip:
            return None
        return self.layer(batch["value"].unsqueeze(1)).mean()

    def on_train_batch_end(self, outputs, batch, batch_idx):
        if batch_idx == self.break_weights_at:
            with torch.no_grad():
                self.layer.bias.fill_(torch.inf)

    def validation_step(self, batch, batch_idx):
        raise AssertionError("a broken model was validated")

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


class CheckBefore(Callback):
    def __init__(self, guard, batch_idx):
        self.guard, self.batch_idx = guard, batch_idx

    def on_train_batch_start(self, trainer, model, batch, batch_idx):
        if batch_idx == self.batch_idx:
            self.guard.check_now(trainer, model)


def fit(model, data, *callbacks, validation=None, **settings):
    quiet = {"logger": False, "enable_checkpointing": False, "enable_model_summary": False, "enable_progress_bar": False}
    trainer = Trainer(accelerator="cpu", callbacks=list(callbacks), max_epochs=1, num_sanity_val_steps=0, **quiet, **settings)
    loader = DataLoader(data, batch_size=2, collate_fn=collate)
    trainer.fit(model, loader, loader)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")], ids=str)
@pytest.mark.parametrize("bad_index", [0, 17, 25, 59])
def test_a_loss_that_is_not_finite_is_found_within_ten_batches(tmp_path, bad_index, bad):
    model, bad_batch = Model(), bad_index // 2
    with pytest.raises(NonFiniteError, match=rf"The loss is -?{bad} in step {bad_batch + 1} \(epoch 0, batch {bad_batch}\)"):
        fit(model, Examples(bad_index, bad), NonFiniteGuard(tmp_path))
    assert model.trained <= bad_batch + 10
    facts = json.loads((tmp_path / "nonfinite.json").read_text())
    first = facts["batches"][0]
    assert (first["step"], first["batch_index"], first["epoch"]) == (bad_batch + 1, bad_batch, 0)
    assert first["example_ids"] == {"rgb": [[7, 2 * bad_batch], [7, 2 * bad_batch + 1]]}
    assert first["loss"] in ("nan", "inf", "-inf")
    assert (facts["batch_before"] or {}).get("batch_index", -1) == bad_batch - 1
    assert facts["parameters"] == ["layer.weight"]


def test_steps_are_optimizer_steps(tmp_path):
    with pytest.raises(NonFiniteError, match=r"in step 5 \(epoch 0, batch 8\)"):
        fit(Model(), Examples(17), NonFiniteGuard(tmp_path), accumulate_grad_batches=2)


def test_a_healthy_run_is_left_alone(tmp_path):
    fit(Model(skip=(0, 1, 7)), Examples(), NonFiniteGuard(tmp_path), limit_val_batches=0)
    assert list(tmp_path.iterdir()) == []


def test_a_bad_loss_after_steps_without_one_is_found(tmp_path):
    with pytest.raises(NonFiniteError, match="batch 8"):
        fit(Model(skip=(0, 1, 7)), Examples(17), NonFiniteGuard(tmp_path))


def test_a_check_before_a_save_finds_the_last_loss_at_once(tmp_path):
    model, guard = Model(), NonFiniteGuard(tmp_path)
    with pytest.raises(NonFiniteError, match="batch 12"):
        fit(model, Examples(25), guard, CheckBefore(guard, 13))
    assert model.trained == 13


def test_a_check_before_a_save_looks_at_the_trained_parameters(tmp_path):
    model, guard = Model(break_weights_at=11), NonFiniteGuard(tmp_path)
    with pytest.raises(
        NonFiniteError, match=r"Not finite after step 12: layer.bias; the losses are finite.*the last checkpoint is good"
    ):
        fit(model, Examples(), CheckBefore(guard, 12), guard)
    facts = json.loads((tmp_path / "nonfinite.json").read_text())
    assert (facts["batches"], facts["parameters"], facts["gradients"]) == ([], ["layer.bias"], [])
    assert facts["batch_before"]["example_ids"] == {"rgb": [[7, 22], [7, 23]]}


def test_losses_are_read_before_a_validation(tmp_path):
    with pytest.raises(NonFiniteError, match="batch 29"):
        fit(Model(), Examples(59), NonFiniteGuard(tmp_path, every_n_steps=100))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")], ids=str)
def test_one_value_among_many_is_enough(value):
    healthy = [
        torch.full((1000,), 3e38),
        torch.full((8,), 6e4, dtype=torch.float16),
        torch.zeros(0),
        torch.ones(2).double() * 1e300,
    ]
    assert all_finite(healthy)
    for index in (0, 1, 3):
        broken = [tensor.clone() for tensor in healthy]
        broken[index][1] = value
        assert not all_finite(broken)
        assert not_finite({str(i): tensor for i, tensor in enumerate(broken)}) == [str(index)]


def test_a_window_of_no_batches_is_refused():
    with pytest.raises(ValueError, match="every_n_steps=0: it is a number of batches, at least 1"):
        NonFiniteGuard(every_n_steps=0)


def test_two_ranks_leave_together_when_one_is_at_fault(tmp_path):
    ranks = [
        subprocess.Popen([sys.executable, HERE / "fault_of_rank.py", str(rank), str(tmp_path)], stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    errors = [rank.communicate(timeout=120)[1] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], errors
    first, second = (json.loads((tmp_path / f"result-{rank}.json").read_text()) for rank in range(2))
    assert first["trained"] == second["trained"] == 20
    assert "Another rank found NaN or infinity" in first["message"]
    assert "The loss is nan in step 14" in second["message"]
    assert not (tmp_path / "nonfinite.json").exists()
    facts = json.loads((tmp_path / "nonfinite-rank-1.json").read_text())
    assert (facts["rank"], facts["batches"][0]["batch_index"]) == (1, 13)
