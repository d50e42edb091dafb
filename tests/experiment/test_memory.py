import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader

from mmkit.experiment.memory import BatchShapes, OutOfMemoryError, explain_memory


@pytest.fixture(scope="module")
def refused():
    program = Path(__file__).with_name("refused_allocation.py")
    done = subprocess.run([sys.executable, program], check=True, capture_output=True, text=True, timeout=120)
    return json.loads(done.stdout)


@pytest.mark.parametrize("way", ["torch", "numpy", "python"])
def test_memory_that_the_machine_refuses_is_explained(refused, way):
    kind, message = refused[way]
    assert kind in ("RuntimeError", "_ArrayMemoryError", "MemoryError")
    assert message.startswith("Out of memory: ")
    assert "Batch: rgb uint8(4, 3, 2, 2), text list of 2." in message
    assert "of 8.00 GiB (address space (ulimit -v))." in message
    assert "Make dataloader.train.batch_size smaller" in message
    assert "\n" not in message


def test_an_accelerators_error_is_cut_to_its_first_sentences():
    text = "CUDA out of memory. Tried to allocate 2.00 GiB. It has 1.00 GiB free. Of the allocated memory 9 GiB is ...\nSee docs"
    message = str(explain_memory(torch.OutOfMemoryError(text)))
    assert message.startswith("Out of memory: CUDA out of memory. Tried to allocate 2.00 GiB. It has 1.00 GiB free. No batch")


def test_nested_batches_are_described():
    batch = {"views": {"a": torch.zeros(2, 3)}, "pair": (torch.zeros(1), torch.zeros(2, dtype=torch.long)), "n": 3}
    message = str(explain_memory(MemoryError(), batch))
    assert "Batch: views.a float32(2, 3), pair[0] float32(1,), pair[1] int64(2,)." in message
    assert message.startswith("Out of memory: MemoryError.")


@pytest.mark.parametrize("error", [RuntimeError("shape mismatch"), ValueError("out of memory"), KeyError("x")], ids=repr)
def test_other_errors_are_not_explained(error):
    assert explain_memory(error) is None


class Greedy(LightningModule):
    def __init__(self, fails):
        super().__init__()
        self.weight, self.fails = torch.nn.Parameter(torch.zeros(1)), fails

    def training_step(self, batch, batch_idx):
        if self.fails:
            torch.empty(2**60, dtype=torch.uint8)
        return self.weight.sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters())


def fit(model, shapes):
    quiet = {"logger": False, "enable_checkpointing": False, "enable_model_summary": False, "enable_progress_bar": False}
    Trainer(accelerator="cpu", callbacks=[shapes], max_epochs=1, **quiet).fit(model, DataLoader(torch.zeros(4, 5), batch_size=2))


@pytest.mark.filterwarnings("ignore:.*does not have many workers.*")
def test_the_batch_that_was_trained_is_named_and_no_other_is_kept():
    shapes = BatchShapes()
    with pytest.raises(RuntimeError) as caught:
        fit(Greedy(True), shapes)
    explained = shapes.explain(caught.value)
    assert isinstance(explained, OutOfMemoryError)
    assert "Batch: tensor float32(2, 5)." in str(explained)
    fit(Greedy(False), shapes)
    assert shapes.batch is None
