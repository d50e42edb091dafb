import pytest

from mmkit.cli.failure import exit_code, explain, report
from mmkit.errors import RefusedError, StoppedError, UsageError


def chain(*errors):
    first, *later = errors
    for error in later:
        error.__cause__ = first
        first = error
    return first


@pytest.mark.parametrize(
    ("errors", "code", "message"),
    [
        ([OSError("disk"), RefusedError("The file is damaged.")], 3, "The file is damaged."),
        ([ValueError("x"), RefusedError("damaged"), RuntimeError("y")], 3, "damaged"),
        ([ValueError("x"), RuntimeError("y")], 1, "x"),
        ([UsageError("wrong")], 2, "wrong"),
    ],
    ids=["own error from another", "own error between others", "others", "own error"],
)
def test_mmkits_own_error_counts_wherever_it_stands(errors, code, message):
    error = chain(*errors)
    assert exit_code(error) == code
    assert explain(error) == message


def test_errors_that_are_causes_of_each_other_are_told_all_the_same():
    first, second = ValueError("x"), RuntimeError("y")
    first.__cause__, second.__cause__ = second, first
    assert exit_code(first) == 1
    assert explain(first) == "RuntimeError: y"


@pytest.mark.parametrize(
    ("rank", "error", "said"),
    [
        ("0", StoppedError("Stopped by SIGTERM."), "mmkit_run: Stopped by SIGTERM.\n"),
        ("1", StoppedError("Stopped by SIGTERM."), ""),
        ("1", UsageError("wrong"), ""),
        ("1", RefusedError("not on this disk"), "mmkit_run (rank-1): not on this disk\n"),
    ],
)
def test_other_ranks_tell_only_what_may_be_theirs_alone(rank, error, said, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("RANK", rank)
    report(error, tmp_path)
    assert capsys.readouterr().err == said


def test_every_rank_has_a_trace_of_its_own(monkeypatch, tmp_path, capsys):
    for rank, name in (("0", "error.log"), ("1", "error-rank-1.log")):
        monkeypatch.setenv("RANK", rank)
        report(ValueError(rank), tmp_path)
        assert f"ValueError: {rank}" in (tmp_path / name).read_text()
