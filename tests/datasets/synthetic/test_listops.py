import re
from collections import Counter
from random import Random
from statistics import median

import pytest

from mmkit.datasets.synthetic import ListOps
from mmkit.datasets.synthetic.listops import ID_OF
from mmkit.datasets.synthetic.listops_grammar import draw_expression, evaluate


TOKEN_OF = {number: token for token, number in ID_OF.items()}


def by_python(tokens):
    """What the expression comes to, by Python's own parser and ``statistics``."""
    names = {"[MIN": "min", "[MAX": "max", "[MED": "med", "[SM": "sm"}
    text = " ".join(f"{names[token]}([" if token in names else "])," if token == "]" else f"{token}," for token in tokens)
    functions = {"min": min, "max": max, "med": lambda digits: int(median(digits)), "sm": lambda digits: sum(digits) % 10}
    return eval(text.rstrip(","), functions)


def depth_and_most_args(tokens):
    args, depth, most = [0], 1, 0
    for token in tokens:
        if token == "]":
            most = max(most, args.pop())
            continue
        args[-1] += 1
        if token.startswith("["):
            args.append(0)
        depth = max(depth, len(args))
    return depth, most


@pytest.fixture(scope="module")
def drawn():
    """Expressions of up to 60 tokens, as they are drawn."""
    random = Random(0)
    expressions = (draw_expression(random, max_depth=4, max_args=5, max_tokens=60) for _ in range(4000))
    return [expression for expression in expressions if expression is not None]


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("7", 7),
        ("[MIN 4 2 9 ]", 2),
        ("[SM 5 6 7 ]", 8),
        ("[MED 1 8 ]", 4),
        ("[MED 9 1 5 ]", 5),
        ("[MAX 2 9 [MIN 4 7 ] 0 ]", 9),
        ("[SM [SM [SM 9 9 ] 9 ] [MED 1 2 3 4 ] ]", 9),
    ],
)
def test_known_expressions(text, result):
    assert evaluate(text.split()) == result


def test_every_expression_comes_to_what_python_says(drawn):
    assert [evaluate(tokens) for tokens in drawn] == [by_python(tokens) for tokens in drawn]


def test_expressions_keep_to_the_grammar(drawn):
    for tokens in drawn:
        text = " ".join(tokens)
        while text != (shorter := re.sub(r"\[(MIN|MAX|MED|SM)( \d){2,5} \]", "0", text)):
            text = shorter
        assert re.fullmatch(r"\d", text)


def test_depth_and_arguments_reach_their_bounds_and_no_further(drawn):
    depths, args = zip(*map(depth_and_most_args, drawn), strict=True)
    assert (max(depths), max(args)) == (4, 5)


def test_a_quarter_of_expressions_are_lists():
    random = Random(1)
    first = [draw_expression(random, 2, 10, 100)[0] for _ in range(8000)]
    counts = Counter(token for token in first if token.startswith("["))
    assert set(counts) == {"[MIN", "[MAX", "[MED", "[SM"}
    assert 1850 < sum(counts.values()) < 2150  # of 2000; a greater distance has a probability of 1e-4
    assert min(counts.values()) > 420


def test_long_expressions_are_given_up_and_no_others():
    for seed in range(500):
        whole = draw_expression(Random(seed), 4, 5, 10_000)
        bounded = draw_expression(Random(seed), 4, 5, 20)
        assert bounded == (whole if len(whole) <= 20 else None)


def test_an_example_has_tokens_mask_and_result():
    dataset = ListOps(min_length=10, max_length=40, size=100)
    for index in range(100):
        example = dataset[index]
        length = int(example.text_attention_mask.sum())
        tokens = [TOKEN_OF[number] for number in example.text[:length].tolist()]
        assert 10 <= length <= 40
        assert example.text_attention_mask.tolist() == [1] * length + [0] * (40 - length)
        assert example.text[length:].tolist() == [1] * (40 - length)
        assert example.text_target == by_python(tokens)


def test_the_default_lengths_are_those_of_the_long_range_arena():
    dataset = ListOps(size=10)
    lengths = [int(dataset[index].text_attention_mask.sum()) for index in range(10)]
    assert 500 <= min(lengths) < max(lengths) <= 2000


def test_impossible_lengths_are_refused_before_there_are_examples(monkeypatch):
    monkeypatch.setattr("mmkit.datasets.synthetic.listops._NUM_TRIES", 200)
    with pytest.raises(ValueError, match=r"none of 200 expressions with max_depth=2 and max_args=2 has 5 to 9 tokens. Widen"):
        ListOps(min_length=5, max_length=9, max_depth=2, max_args=2)
