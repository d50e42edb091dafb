from collections import Counter

from mmkit.datasets.synthetic import AssociativeRecall


def test_the_label_is_the_value_after_the_asked_key():
    dataset = AssociativeRecall(num_pairs=8, size=100)
    for index in range(100):
        tokens, labels = dataset[index].text.tolist(), dataset[index].text_target.tolist()
        value_of = dict(zip(tokens[:16:2], tokens[1:16:2], strict=True))
        assert len(value_of) == 8  # keys differ
        assert labels == [-100] * 17 + [value_of[tokens[16]]]
        assert tokens[17] == labels[17]


def test_keys_and_values_have_ids_of_their_own():
    dataset = AssociativeRecall(num_pairs=3, num_keys=4, num_values=5, size=200)
    texts = [dataset[index].text.tolist() for index in range(200)]
    assert {token for text in texts for token in text[::2]} == set(range(3, 7))
    assert {token for text in texts for token in text[1::2]} == set(range(7, 12))


def test_every_pair_is_asked_for_equally_often():
    dataset = AssociativeRecall(num_pairs=4, size=2000)
    texts = (dataset[index].text.tolist() for index in range(2000))
    places = Counter(text[:8:2].index(text[8]) for text in texts)
    assert set(places) == set(range(4))
    assert min(places.values()) > 420  # of 500; fewer has a probability of 1e-4


def test_more_questions_ask_for_different_keys():
    dataset = AssociativeRecall(num_pairs=5, num_queries=3, size=50)
    for index in range(50):
        tokens, labels = dataset[index].text.tolist(), dataset[index].text_target.tolist()
        value_of = dict(zip(tokens[:10:2], tokens[1:10:2], strict=True))
        asked = tokens[10::2]
        assert len(set(asked)) == 3
        assert tokens[11::2] == labels[11::2] == [value_of[key] for key in asked]
        assert labels[:11] + labels[12::2] == [-100] * 13
