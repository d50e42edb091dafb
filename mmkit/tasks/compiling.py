"""Methods of a task that ``torch.compile`` leaves as they are."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch


Method = TypeVar("Method", bound=Callable[..., Any])


def never_compiled(method: Method) -> Method:
    """Keep ``torch.compile`` out of a method and of all that it calls, e.g. logging, which depends on the step's number."""
    return torch.compiler.disable(method)  # pyright: ignore[reportReturnType]


def compiled_inside(method: Method) -> Method:
    """Keep ``torch.compile`` out of a method alone; what it calls is compiled, each call whole."""
    return torch.compiler.disable(method, recursive=False)  # pyright: ignore[reportReturnType, reportCallIssue]
