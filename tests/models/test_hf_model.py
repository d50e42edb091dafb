"""Models with a head, from a configuration or a directory."""

import inspect
import subprocess
import sys

import pytest
import torch

from mmkit.archive import build
from mmkit.models import HFModel, MegaEncoder, MegaWithHead
from mmkit.tasks import CausalLanguageModeling


GPT2 = {"model_type": "gpt2", "vocab_size": 13, "n_embd": 8, "n_layer": 1, "n_head": 2, "eos_token_id": 2, "bos_token_id": 1}
SMALL = {"vocab_size": 13, "hidden_size": 8, "num_hidden_layers": 1, "intermediate_size": 8, "nffn_hidden_size": 8}
OF_COMPONENT = {
    MegaWithHead: {"head", "num_labels", "problem_type"},
    MegaEncoder: {"input_dim", "pooling", "gradient_checkpointing", "modality"},
}
HEADS_ONLY = {"classifier_dropout", "use_cache", "add_lm_hidden_dense_layer", "add_cross_attention", "tie_word_embeddings"}
LEFT_OUT = {MegaWithHead: set(), MegaEncoder: HEADS_ONLY}


@pytest.mark.parametrize("component", OF_COMPONENT)
def test_arguments_of_megas_components_are_the_fields_of_its_configuration(component):
    from mmkit.models.mega import MegaConfig

    fields = inspect.signature(MegaConfig).parameters.values()
    expected = {field.name: field.default for field in fields if field.kind is not field.VAR_KEYWORD}
    found = {name: parameter.default for name, parameter in inspect.signature(component).parameters.items()}
    assert {name: default for name, default in found.items() if name not in OF_COMPONENT[component]} == {
        name: default for name, default in expected.items() if name not in LEFT_OUT[component]
    }


def test_every_argument_of_megas_component_reaches_its_configuration():
    given = {**SMALL, "normalization_type": "layernorm", "pad_token_id": 0, "num_labels": 4, "problem_type": "regression"}
    config = MegaWithHead("sequence_classification", **given).config
    assert {name: getattr(config, name) for name in given} == given


@pytest.mark.parametrize(
    ("head", "config", "shape"),
    [
        pytest.param("causal_lm", GPT2, (2, 5, 13), id="gpt2"),
        pytest.param("masked_lm", {**SMALL, "model_type": "mega"}, (2, 5, 13), id="mega"),
        pytest.param("sequence_classification", {**SMALL, "model_type": "mega", "num_labels": 4}, (2, 4), id="classes"),
    ],
)
def test_logits_have_the_shape_of_the_head(head, config, shape):
    ids = torch.randint(3, 13, (2, 5))
    assert HFModel(head, config=config)(ids, use_cache=False).logits.shape == shape


def test_a_saved_mega_is_loaded_with_its_weights(tmp_path):
    model = MegaWithHead("causal_lm", bidirectional=False, is_decoder=True, **SMALL)
    model.model.save_pretrained(tmp_path)
    loaded, fresh = (HFModel("causal_lm", str(tmp_path), pretrained=pretrained) for pretrained in (True, False))
    for name, value in model.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], value)
    assert any(not torch.equal(fresh.state_dict()[name], value) for name, value in model.state_dict().items())


def test_what_cannot_be_built_is_said():
    with pytest.raises(ValueError, match=r"Unknown head 'lm'\. Allowed: causal_lm, masked_lm, sequence_classification"):
        HFModel("lm", config=GPT2)
    with pytest.raises(ValueError, match=r"Unknown model_type 'meg' in the config of HFModel\. .* mega"):
        HFModel("causal_lm", config={**SMALL, "model_type": "meg"})
    with pytest.raises(ValueError, match="bidirectional"):
        MegaWithHead("causal_lm", is_decoder=True, **SMALL)


@pytest.mark.parametrize("pretrained", [True, False], ids=["directory", "configuration"])
def test_an_archive_holds_a_task_on_a_model(tmp_path, pretrained):
    model = {"_target_": "mmkit.models.hf_model.HFModel", "head": "causal_lm"}
    if pretrained:
        HFModel("causal_lm", config=GPT2).model.save_pretrained(tmp_path / "model")
        model["model_name_or_path"] = str(tmp_path / "model")
    else:
        model["config"] = GPT2
    task = build({"_target_": "mmkit.tasks.causal_language_modeling.CausalLanguageModeling", "model": model})
    archive = task.save_to(tmp_path / "task.mmkit")
    (tmp_path / "model").rename(tmp_path / "gone") if pretrained else None
    again = CausalLanguageModeling.restore_from(archive)
    batch = {"text": torch.randint(3, 13, (2, 5))}
    torch.testing.assert_close(again.eval()(batch), task.eval()(batch))


def test_importing_the_group_loads_neither_transformers_nor_mega():
    code = "import sys, mmkit.models; print([m for m in ('transformers', 'mmkit.models.mega') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
