"""Mega through the Auto classes of transformers."""

import importlib

import pytest
import torch
from transformers import AutoConfig, AutoModel

from mmkit.models import mega
from mmkit.models.mega import registration
from tests.models.mega.tiny import DECODER, SIZES, tokens


def test_a_configuration_is_found_by_its_type():
    config = AutoConfig.for_model("mega", hidden_size=64)
    assert isinstance(config, mega.MegaConfig)
    assert config.hidden_size == 64


@pytest.mark.parametrize(
    ("auto_class", "model_class"), registration.AUTO_CLASSES.items(), ids=lambda each: getattr(each, "__name__", "")
)
def test_a_saved_model_is_found_by_its_folder(auto_class, model_class, tmp_path):
    settings = {**SIZES, **(DECODER if "Causal" in model_class.__name__ else {})}
    settings["num_labels"] = 2
    model = model_class(mega.MegaConfig(**settings)).eval()
    model.save_pretrained(tmp_path)
    again = auto_class.from_pretrained(tmp_path).eval()
    assert type(again) is model_class
    ids = tokens(2, 6)[:, None] if "Choice" in model_class.__name__ else tokens(2, 6)
    torch.testing.assert_close(again(ids)[0], model(ids)[0])


def test_a_model_without_head_loads_what_one_with_a_head_saved(tmp_path):
    model = mega.MegaForMaskedLM(mega.MegaConfig(**SIZES)).eval()
    model.save_pretrained(tmp_path)
    again = AutoModel.from_pretrained(tmp_path, add_pooling_layer=False).eval()
    torch.testing.assert_close(again(tokens(2, 6))[0], model.mega(tokens(2, 6))[0])


def test_registering_again_changes_nothing():
    importlib.reload(registration).register_auto_classes()
    assert type(AutoModel.from_config(mega.MegaConfig(**SIZES))) is mega.MegaModel
