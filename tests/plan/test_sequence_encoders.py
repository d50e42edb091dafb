"""Plans of a task whose texts are read by a SequenceEncoder."""

import pytest

from mmkit.plan import make_plan
from tests.plan.parts import target


KINDS = {
    "transformer-learned": {},
    "transformer-rotary": {"position_embedding": "rotary", "norm_position": "normformer", "activation": "swiglu"},
    "transformer-alibi": {"position_embedding": "alibi", "norm_position": "post", "normalization": "rmsnorm"},
    "perceiver": {"arch": "perceiver", "activation": "geglu", "normalization": "rmsnorm", "gradient_checkpointing": True},
}


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_a_step_is_followed_to_its_end(experiment, options):
    size = {"vocab_size": 260, "hidden_size": 24, "num_layers": 1, "num_attention_heads": 2, "max_positions": 64}
    encoder = target("mmkit.modules.encoders.SequenceEncoder", **size, pooling="mean", **options)
    plan = make_plan(experiment({"task.encoders.text": encoder, "trainer.precision": "bf16-mixed"}))
    assert (plan.mismatches, plan.unknowns) == ([], [])
    assert next(row for row in plan.rows if row.key == "task.encoders.text").output == (8, 24)
