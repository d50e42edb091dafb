import pytest

from mmkit.cli.failure import exit_code, explain
from mmkit.errors import RefusedError, UsageError


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
