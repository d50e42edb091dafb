import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmkit.datasets.stdlib_bytes.windows import Windows


@st.composite
def windows(draw):
    context = draw(st.integers(2, 12))
    return Windows(draw(st.integers(context, 60)), context, draw(st.integers(1, context - 1)))


@given(windows())
def test_every_symbol_but_the_first_is_predicted_once(windows):
    predicted = [
        position
        for index in range(len(windows))
        for position in range(windows.first_predicted(index), windows.start(index) + windows.context)
    ]
    assert predicted == list(range(1, windows.length))


@given(windows())
def test_every_prediction_has_its_context(windows):
    for index in range(len(windows)):
        least = 1 if index == 0 else windows.context - windows.stride
        assert windows.first_predicted(index) - windows.start(index) >= least
        assert 0 <= windows.start(index) <= windows.length - windows.context


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((10, 11, 1), "context=11 must be 2 or more, and at most the 10 symbols that there are."),
        ((10, 1, 1), "context=1 must be 2 or more"),
        ((10, 5, 5), "stride=5 must be 1 to 4: below context=5."),
        ((10, 5, 0), "stride=0 must be 1 to 4"),
    ],
    ids=["long_context", "short_context", "long_stride", "no_stride"],
)
def test_impossible_windows_are_refused(arguments, says):
    with pytest.raises(ValueError, match=says):
        Windows(*arguments)
