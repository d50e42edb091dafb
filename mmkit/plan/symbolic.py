"""Running operations on shapes alone.

Large tensors have a shape and a type but no values; small ones and integers (ids, masks, positions) stay real, because code
decides by their values: which examples match, where a text ends. A module is built on the meta device, and a step is taken with
fake tensors of the CPU, which unlike meta tensors take part in autocast and choose kernels as a CPU does.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map, tree_map_only


SMALL = 4096  # elements that are cheap to compute for real
SMALL_INTEGERS = 2**20  # ids, masks and tokens of a batch


class Symbolic(TorchDispatchMode, ABC):
    """Base of the two modes: an operation on real tensors alone is computed, any other is not."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if not tensors:
            return self._made(func, args, kwargs)
        abstract = [self.is_abstract(tensor) for tensor in tensors]
        if not any(abstract):
            return self.seen(func(*args, **kwargs))
        if all(abstract):
            return self.seen(self.run(func, args, kwargs))
        check_indices(func, args)
        originals: dict[int, Tensor] = {}

        def without_values(tensor: Tensor) -> Tensor:
            if self.is_abstract(tensor):
                return tensor
            twin = self.abstract(tensor)
            originals[id(twin)] = tensor
            return twin

        args, kwargs = tree_map_only(Tensor, without_values, (args, kwargs))
        out = self.run(func, args, kwargs)
        # an operation in place returns its argument: that must be the caller's tensor, not its twin
        return self.seen(tree_map(lambda leaf: originals.get(id(leaf), leaf), out))

    def _made(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        out = self.run(func, args, self.placed(kwargs))
        if isinstance(out, Tensor) and out.numel() <= (SMALL if out.is_floating_point() else SMALL_INTEGERS):
            out = func(*args, **kwargs)
        return self.seen(out)

    def seen(self, out: Any) -> Any:
        """Called with every result."""
        return out

    def placed(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        """The arguments with which a new tensor is made without values."""
        return kwargs

    @abstractmethod
    def is_abstract(self, tensor: Tensor) -> bool:
        """Whether a tensor has no values."""

    @abstractmethod
    def abstract(self, tensor: Tensor) -> Tensor:
        """A tensor like another, without values."""

    @abstractmethod
    def run(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Run an operation on tensors without values."""


class Building(Symbolic):
    """Modules built within this have parameters on the meta device; nothing is allocated, nothing initialised."""

    def is_abstract(self, tensor: Tensor) -> bool:
        return tensor.is_meta

    def abstract(self, tensor: Tensor) -> Tensor:
        return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")

    def placed(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        return {**kwargs, "device": torch.device("meta")}

    def run(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        return func(*args, **kwargs)


class Stepping(Symbolic):
    """Steps taken within this know shapes, types and lifetimes of tensors.

    Args:
        watch: Called with every tensor that an operation returns.
    """

    def __init__(self, watch: Callable[[Tensor], None] | None = None) -> None:
        super().__init__()
        self.watch = watch
        self._fake = FakeTensorMode(allow_non_fake_inputs=True)

    def is_abstract(self, tensor: Tensor) -> bool:
        return isinstance(tensor, FakeTensor)

    def abstract(self, tensor: Tensor) -> Tensor:
        return self.empty(tensor.shape, tensor.dtype, tensor.stride())

    def empty(self, shape: Any, dtype: torch.dtype, stride: Any = None) -> Tensor:
        """A tensor without values."""
        with self._fake:
            return torch.empty_strided(shape, stride or _contiguous(shape), dtype=dtype)

    def run(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        with self._fake:
            return func(*args, **kwargs)

    def seen(self, out: Any) -> Any:
        if self.watch is not None:
            for leaf in tree_leaves(out):
                if isinstance(leaf, Tensor):
                    self.watch(leaf)
        return out

    def adopt(self, module: nn.Module) -> None:
        """Give a module parameters and buffers without values in place of its own; those that are shared stay shared."""
        twins: dict[int, tuple[Tensor, Tensor]] = {}  # with the original, so that no id is used twice
        for part in module.modules():
            for kind in (part._parameters, part._buffers):
                for name, tensor in kind.items():
                    if tensor is not None and not self.is_abstract(tensor):
                        if id(tensor) not in twins:
                            twins[id(tensor)] = tensor, self._twin(tensor)
                        kind[name] = twins[id(tensor)][1]  # pyright: ignore[reportArgumentType]

    def _twin(self, tensor: Tensor) -> Tensor:
        twin = self.abstract(tensor.detach())
        self.seen(twin)
        return nn.Parameter(twin, requires_grad=tensor.requires_grad) if isinstance(tensor, nn.Parameter) else twin


def check_indices(func: Any, args: Any) -> None:
    """Raise an IndexError if real token ids are looked up in a table that is too short, as a CPU does."""
    if func is torch.ops.aten.embedding.default and not isinstance(args[1], FakeTensor) and not args[1].is_meta:
        largest = int(args[1].max()) if args[1].numel() else -1
        if largest >= len(args[0]):
            raise IndexError(f"The index {largest} is out of range for an embedding of {len(args[0])} rows.")


def _contiguous(shape: Any) -> tuple[int, ...]:
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
