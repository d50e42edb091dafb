"""Every mistake of the corpus is refused, in three lines, with what to type instead."""

import pytest

from mmkit.cli.preflight import CODES, check, told
from tests.cli.preflight.corpus import CASES, EXPERIMENT


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_a_mistake_is_told_with_what_to_type_instead(case, study):
    if case.old:
        assert case.old in EXPERIMENT
        study(EXPERIMENT.replace(case.old, case.new, 1))
    (mistake,) = check(case.typed).mistakes  # one mistake has no others in its train
    assert (mistake.code, mistake.suggestion) == (case.code, case.suggestion), told([mistake])
    assert len(mistake.lines()) <= 3
    assert "Traceback" not in told([mistake])


def test_the_corpus_has_every_code_that_the_check_can_give():
    assert {case.code for case in CASES} == set(CODES) - {"MM601", "MM900"}
    assert len({(case.typed, case.old, case.new) for case in CASES}) >= 80
