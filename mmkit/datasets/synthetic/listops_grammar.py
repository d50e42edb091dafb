"""The grammar of ListOps: nested lists of digits under an operation, and what they come to.

Published by Nangia and Bowman 2018 (https://arxiv.org/abs/1804.06028); drawn as in the Long Range Arena (Tay et al. 2021,
https://arxiv.org/abs/2011.04006), which has longer lists::

    expression = digit | "[" operation expression expression … "]"
"""

from collections.abc import Callable, Iterable
from random import Random


OPERATION_SHARE = 0.25  # of expressions above the greatest depth that are lists; the others are digits
END = "]"


def median(digits: list[int]) -> int:
    """The middle one; of two in the middle, their mean without its fraction, as published.

    Example:
        >>> median([9, 1, 2]), median([1, 2]), median([1, 3])
        (2, 1, 2)
    """
    ordered = sorted(digits)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) // 2


OPERATIONS: dict[str, Callable[[list[int]], int]] = {
    "[MIN": min,
    "[MAX": max,
    "[MED": median,
    "[SM": lambda digits: sum(digits) % 10,
}
DIGITS = [str(digit) for digit in range(10)]
TOKENS = [*DIGITS, *OPERATIONS, END]


def draw_expression(random: Random, max_depth: int, max_args: int, max_tokens: int) -> list[str] | None:
    """Draw an expression.

    Args:
        random: Where choices come from.
        max_depth: Depth at which there are only digits; the whole expression has depth 1.
        max_args: Most arguments of an operation; there are at least 2.
        max_tokens: The drawing ends with None as soon as the expression is longer.

    Returns:
        Its tokens, of :data:`TOKENS`.
    """
    tokens: list[str] = []
    missing = [1]  # expressions that are still to be drawn, at each depth
    while missing:
        if len(tokens) + sum(missing) + len(missing) - 1 > max_tokens:  # all that is open takes at least these
            return None
        if missing[-1] == 0:
            missing.pop()
            tokens += [END] if missing else []
            continue
        missing[-1] -= 1
        if len(missing) < max_depth and random.random() < OPERATION_SHARE:
            tokens.append(random.choice(list(OPERATIONS)))
            missing.append(random.randint(2, max_args))
        else:
            tokens.append(random.choice(DIGITS))
    return tokens


def evaluate(tokens: Iterable[str]) -> int:
    """What an expression comes to, 0 to 9.

    Example:
        >>> evaluate("[MAX 2 9 [MIN 4 7 ] 0 ]".split())
        9
    """
    lists: list[tuple[str, list[int]]] = [("", [])]
    for token in tokens:
        if token in OPERATIONS:
            lists.append((token, []))
        elif token == END:
            operation, digits = lists.pop()
            lists[-1][1].append(OPERATIONS[operation](digits))
        else:
            lists[-1][1].append(int(token))
    return lists[0][1][0]
