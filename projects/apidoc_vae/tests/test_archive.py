"""A trained task is used where the data is not."""

import pytest
import torch
from hydra import compose, initialize_config_module

from mmkit.archive import build
from mmkit.tasks import EncoderDecoderPretraining
from projects.apidoc_vae import configs


def test_a_restored_task_brings_its_vocabulary(apidocs, tmp_path, monkeypatch):
    pytest.importorskip("sentencepiece")
    with initialize_config_module(configs.__name__, version_base="1.3"), torch.random.fork_rng():
        small = ["task.model.decoder.hidden_size=32", "task.evaluation_tasks.texts.task.path=x.txt"]
        task = build(compose("base_config", ["+experiment=apidoc_vae", *small]).task)
    archive = task.save_to(tmp_path / "a.mmkit")
    monkeypatch.setenv("MMKIT_DATA", str(tmp_path / "nothing"))
    assert isinstance(task, EncoderDecoderPretraining)
    restored = EncoderDecoderPretraining.restore_from(archive)
    assert restored.sample(2, seed=0) == task.sample(2, seed=0)
    assert restored.reconstruct(["Creates the bada."]) == task.reconstruct(["Creates the bada."])
