from collections.abc import Callable
from pathlib import Path

from mmkit.conf.reading import parameter_docs, read_signature


def test_every_argument_gets_its_lines() -> None:
    doc = """Make noise.

    Example::

        level: not this one

    Args:
        level: How loud,
            in decibels: many.

        seed (int, optional): Any number.
        a, b: Two numbers.
        *rest: More of them.
        **options: Given on.
    Returns:
        noise: Not an argument.

    Attributes:
        level: Said before.
        sound (Tensor): The result.
    """
    assert parameter_docs(doc) == {
        "level": "How loud, in decibels: many.",
        "seed": "Any number.",
        "a": "Two numbers.",
        "b": "Two numbers.",
        "rest": "More of them.",
        "options": "Given on.",
        "sound": "The result.",
    }


def test_torch_documents_its_arguments_so_that_they_are_found() -> None:
    assert parameter_docs(read_signature("torch.nn.LayerNorm").doc).keys() >= {
        "normalized_shape",
        "eps",
        "elementwise_affine",
        "bias",
    }
    assert parameter_docs(read_signature("torch.optim.AdamW").doc).keys() >= {"params", "lr", "betas"}


def test_every_argument_of_mmkits_tasks_is_documented() -> None:
    signature = read_signature("mmkit.tasks.contrastive_pretraining.ContrastivePretraining")
    assert set(parameter_docs(signature.doc)) >= {each.name for each in signature.parameters}


def test_arguments_of_an_inherited_constructor_are_documented_by_its_class(write: Callable[[str, str], Path]) -> None:
    write(
        "documented.py",
        'class A:\n    """A.\n\n    Args:\n        x: An x.\n    """\n    def __init__(self, x): ...\nclass B(A):\n    """B."""',
    )
    signature = read_signature("documented.B")
    assert signature.doc.startswith("B.")
    assert parameter_docs(signature.doc) == {"x": "An x."}
