"""A copy of a checkpoint in host memory, so that training may go on while it is written."""

import copy
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn


class Snapshots:
    """Copies checkpoints into memory that is kept from one to the next.

    Most of the time of a copy into new memory goes into getting that memory from the system, and it is what training waits for.
    So between two saves as much host memory stays taken as one checkpoint has. Only the last snapshot is valid.
    """

    def __init__(self) -> None:
        self._kept: list[tuple[Tensor, bool]] = []

    def take(self, checkpoint: dict[str, Any], share_host_memory: bool = False) -> dict[str, Any]:
        """Copy containers and tensors; tensors that share memory do so in the copy, too, as with ``torch.save``.

        Args:
            checkpoint: What is to be written.
            share_host_memory: Whether tensors in host memory are not copied, as nothing changes them before they are written.
        """
        taking = _Taking(self._kept, share_host_memory)
        copied = taking.copied(checkpoint)
        self._kept = taking.used
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            torch.cuda.synchronize()  # copies from a device were only started
        return copied

    def release(self) -> None:
        """Give the memory back."""
        self._kept = []


class _Taking:
    def __init__(self, kept: list[tuple[Tensor, bool]], share_host_memory: bool) -> None:
        self.used: list[tuple[Tensor, bool]] = []  # memory, and whether it is pinned
        self._kept, self._share_host_memory = kept, share_host_memory
        self._memory: dict[tuple[torch.device, int], Tensor] = {}  # copies by place of the original
        self._copies: dict[int, Any] = {}  # by id of the original

    def copied(self, value: Any) -> Any:
        if id(value) not in self._copies:
            self._copies[id(value)] = self._copy(value)
        return self._copies[id(value)]

    def _copy(self, value: Any) -> Any:
        kind = type(value)
        if kind is dict:
            return {key: self.copied(entry) for key, entry in value.items()}
        if kind is OrderedDict:
            ordered = OrderedDict((key, self.copied(entry)) for key, entry in value.items())
            vars(ordered).update(copy.deepcopy(vars(value)))  # a state dict has _metadata
            return ordered
        if kind in (list, tuple):
            return kind(self.copied(entry) for entry in value)
        if isinstance(value, Tensor):
            return self._copied_tensor(value)
        return copy.deepcopy(value)

    def _copied_tensor(self, tensor: Tensor) -> Tensor:
        if not is_plain(tensor):
            return tensor.detach().to("cpu", copy=True)
        flat = self._copied_memory(tensor)
        view = torch.empty(0, dtype=tensor.dtype)
        view.set_(flat.untyped_storage(), tensor.storage_offset(), tensor.size(), tensor.stride())
        if isinstance(tensor, nn.Parameter):
            return nn.Parameter(view, tensor.requires_grad)
        return view.requires_grad_(tensor.requires_grad)

    def _copied_memory(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        place = (storage.device, storage.data_ptr())
        if place not in self._memory or not storage.nbytes():
            original = torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)
            shared = self._share_host_memory and storage.device.type == "cpu"
            self._memory[place] = original if shared else self._taken(original).copy_(original, non_blocking=True)
        return self._memory[place]

    def _taken(self, original: Tensor) -> Tensor:
        """Memory of this size; that which the same place had last time, if it fits."""
        size, pinned = original.numel(), original.is_cuda  # copies from a GPU into pinned memory are several times faster
        number = len(self.used)
        memory, was_pinned = self._kept[number] if number < len(self._kept) else (None, False)
        if memory is None or memory.numel() != size or was_pinned != pinned:
            memory = torch.empty(size, dtype=torch.uint8, pin_memory=pinned)
        self.used.append((memory, pinned))
        return memory


def is_plain(tensor: Tensor) -> bool:
    """Whether a tensor is no more than a view of memory: neither sparse, quantized, of a class of its own, nor lazily negated."""
    strided = tensor.layout is torch.strided and not tensor.is_quantized
    return type(tensor) in (Tensor, nn.Parameter) and strided and not tensor.is_conj() and not tensor.is_neg()
