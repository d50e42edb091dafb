from collections import Counter

from mmkit.datasets.synthetic import SelectiveCopy
from mmkit.datasets.synthetic.selective_copy import BLANK_ID, FIRST_SYMBOL_ID, MARKER_ID


def test_labels_are_the_symbols_in_their_order_one_after_each_marker():
    dataset = SelectiveCopy(length=30, num_copied=5, size=50)
    for index in range(50):
        tokens, labels = dataset[index].text.tolist(), dataset[index].text_target.tolist()
        symbols = [token for token in tokens if token >= FIRST_SYMBOL_ID]
        assert len(symbols) == 5
        assert tokens[30:] == [MARKER_ID] * 6
        assert tokens[:30].count(BLANK_ID) == 25
        assert labels == [-100] * 31 + symbols


def test_symbols_stand_anywhere():
    dataset = SelectiveCopy(length=10, num_copied=3, size=1000)
    places = Counter(place for i in range(1000) for place in range(10) if dataset[i].text[place] >= FIRST_SYMBOL_ID)
    assert set(places) == set(range(10))
    assert min(places.values()) > 240  # of 300; fewer has a probability of 2e-5


def test_the_default_sizes_are_those_of_the_paper():
    dataset = SelectiveCopy()
    assert dataset[0].text.shape == (4096 + 17,)
    assert SelectiveCopy.example_spec().text.max() - 3 + 1 == 16  # 14 symbols, the blank and the marker
