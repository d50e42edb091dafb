import pytest
from lightning.pytorch import Callback

from mmkit.errors import UsageError
from tests.reliability.exact_run import train


class Hoarder(Callback):
    """A callback whose state no checkpoint can hold."""

    def state_dict(self):
        return {"path": object()}


def test_state_that_cannot_be_stored_is_told_before_the_first_step(project, tmp_path):
    target = f"+trainer.callbacks={{hoarder: {{_target_: {Hoarder.__module__}.Hoarder}}}}"
    with pytest.raises(UsageError, match=r"Hoarder.*path.*object"):
        train(project, tmp_path / "run", target.removeprefix("+"))
    assert not (tmp_path / "run" / "metrics.jsonl").exists()
