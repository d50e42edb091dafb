"""Built modules in more than one pipeline, and weights in models of low precision."""

import pytest
import torch

from mmkit.hiddens import BaseHiddenLoss, HiddensPipeline
from tests.hiddens.parts import Length, Scale, given


class Mean(BaseHiddenLoss):
    input_names = ("z",)

    def forward(self, inputs, batch_data=None):
        return {"loss": inputs["z"].mean()}


def test_modules_read_in_each_pipeline_what_they_read_there():
    scale, length, mean = Scale(2.0), Length(), Mean()
    first = HiddensPipeline({"a": scale}, {"l": length, "m": mean}, "a.z")
    second = HiddensPipeline({"b": scale}, {"l": length, "m": mean}, "b.z")
    for _ in range(2):
        for pipeline, name in ((first, "a"), (second, "b")):
            outputs = pipeline.apply_hidden_transforms(given())
            assert torch.equal(outputs[f"{name}.z"], 2 * given()["hiddens"])
            found = pipeline.apply_loss_transforms({key: outputs[key] for key in outputs if key != "z"})
            assert found["l_loss"] == 2.5
            assert found["m_loss"] == 2 * given()["hiddens"].mean()


WARMUP = {"schedule": "linear_warmup", "value": 1.0, "warmup_steps": 1000}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_a_scheduled_weight_is_not_rounded_in_a_model_of_another_precision(dtype):
    pipeline = HiddensPipeline({"q": Scale()}, {"m": Mean(WARMUP)}, "z")
    pipeline.global_step = 333
    pipeline.to(dtype)
    assert pipeline.losses["m"].weight().item() == pytest.approx(0.333, rel=1e-7)
    pipeline.global_step = 777
    assert pipeline.losses["m"].weight().item() == pytest.approx(0.777, rel=1e-7)
    terms = pipeline.apply_loss_transforms(pipeline.apply_hidden_transforms({"hiddens": torch.ones(1, 2, 2, dtype=dtype)}))
    assert terms["loss"].item() == pytest.approx(0.777, rel=1e-7)


def test_a_weight_made_on_meta_has_its_value_on_a_device():
    with torch.device("meta"):
        pipeline = HiddensPipeline({"q": Scale()}, {"m": Mean({**WARMUP, "start": 0.5})}, "z")
    pipeline.to_empty(device="cpu")
    assert pipeline.losses["m"].weight().item() == 0.5
