"""What stands around every component while a step is planned: who made a tensor, who objects to it, and how to go on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException
from torch.utils._pytree import tree_leaves

from mmkit.datasets.core import Modalities
from mmkit.errors import first_line
from mmkit.models.multimodal_encoder import MultimodalEncoder
from mmkit.plan.building import Builder
from mmkit.plan.findings import BrokenError
from mmkit.plan.naming import GIVES, TAKES, argument_with, taken
from mmkit.plan.symbolic import Stepping


KEEPS_SIZE = (nn.LayerNorm, nn.RMSNorm, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.GroupNorm)
_MODEL_INPUTS = ("input_ids", "inputs_embeds")  # of Hugging Face-style models, which are called by name
VALUES_NEEDED = (DataDependentOutputException, DynamicOutputShapeException, NotImplementedError)


@dataclass
class Seen:
    """What a component did in its last forward pass.

    Attributes:
        output: Shape of its output; of a sequence that of its first item.
        flops: Floating-point operations of its forward pass.
    """

    output: tuple[int, ...] | None = None
    flops: int = 0


@dataclass
class Guards:
    """Watches components by their keys.

    Args:
        builder: Knows their arguments and takes the findings.
        step: The mode that the step is taken in.
        count: Says how many floating-point operations there were so far.
        origins: Which key every entry of the batch comes from.
        reading: The modality that a component reads, by its key, for those that are called with a tensor instead of a batch.
    """

    builder: Builder
    step: Stepping
    count: Callable[[], int] = lambda: 0
    origins: dict[str, str] = field(default_factory=dict)
    reading: dict[str, str] = field(default_factory=dict)
    seen: dict[str, Seen] = field(default_factory=dict)
    _keys: dict[int, str] = field(default_factory=dict)
    _fed_by: dict[str, str | None] = field(default_factory=dict)
    _path: list[nn.Module] = field(default_factory=list)

    @property
    def findings(self) -> Any:
        return self.builder.findings

    def watch(self, root: nn.Module, prefix: str, itself: bool = False) -> None:
        """Stand around every component inside ``root`` that has a key, perhaps ``itself``, and around multimodal models."""
        inside = {id(module) for module in root.modules()}
        for key, part in self.builder.objects.items():
            if isinstance(part, nn.Module) and id(part) in inside and key.startswith(prefix) and id(part) not in self._keys:
                self._keys[id(part)] = key
                if part is not root or itself:
                    self._surround(part, key)
        for module in root.modules():
            module.register_forward_pre_hook(self._enter)
            module.register_forward_hook(self._leave)
            if isinstance(module, MultimodalEncoder):
                vars(module)["forward"] = _embedding_all(self, module)

    def _enter(self, module: nn.Module, _: Any) -> None:
        self._path.append(module)

    def _leave(self, *_: Any) -> None:
        self._path.pop()

    def _surround(self, module: nn.Module, key: str) -> None:
        forward = module.forward

        def guarded(*args: Any, **kwargs: Any) -> Any:
            before, height = self.count(), len(self._path)
            made_by = getattr(self._input(key, module, args, kwargs)[1], "made_by", None)
            self._fed_by[key] = None if made_by == key else made_by  # its own, of the step before, where it hands its input on
            args = with_equal_sizes(self, args)
            try:
                out = forward(*args, **kwargs)
            except BrokenError:
                raise
            except Exception as error:
                self._mend(key, module, error, args, kwargs)
                del self._path[height:]
                out = self._again(forward, args, kwargs)
            self._note(key, out, self.count() - before)
            return out

        vars(module)["forward"] = guarded

    def _again(self, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        try:
            return forward(*args, **kwargs)
        except Exception as error:  # one mismatch of a component is named; the next, once this one is mended
            raise BrokenError from error

    def _note(self, key: str, out: Any, flops: int) -> None:
        first = next((leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)), None)
        self.seen[key] = Seen(None if first is None else tuple(first.shape), flops)
        if first is not None and not hasattr(first, "made_by"):  # a component may hand its input on
            first.made_by = key  # pyright: ignore[reportAttributeAccessIssue]

    # What does not fit, and how to go on

    def _mend(self, key: str, module: nn.Module, error: Exception, args: Any, kwargs: Any) -> None:
        """Note what ``module`` objects to, and let that part of it take what it is given.

        Raises:
            BrokenError: There is no telling what it takes.
        """
        culprit = self._path[-1] if self._path else module
        if isinstance(error, VALUES_NEEDED) or "meta tensor" in str(error):
            self.findings.unknown(
                f"{key} decides by values of tensors ({type(culprit).__name__}), which a plan does not know: it is left out."
            )
            raise BrokenError from error
        name, given = self._input(key, module, args, kwargs)
        if isinstance(error, IndexError) and isinstance(culprit, nn.Embedding) and given is not None:
            self._mend_embedding(key, culprit, name, given)
            return
        takes = taken(culprit)
        has = None if given is None or takes is None or given.ndim < abs(takes[1]) + (takes[1] >= 0) else given.shape[takes[1]]
        if given is None or takes is None or has is None or has == takes[0]:
            self.findings.mismatch(key, f"{key}: {first_line(error)}")
            raise BrokenError from error
        consumer = self._named(key, takes[0], TAKES) or f"the {takes[0]} that {key} takes"
        self.findings.mismatch(key, f"{consumer} does not match {self.source(given, name, has)}.")
        self._mend_size(culprit, *takes)

    def _mend_size(self, culprit: nn.Module, size: int, axis: int) -> None:
        if isinstance(culprit, KEEPS_SIZE):  # it may be the only one that is wrong
            vars(culprit)["forward"] = lambda x: self.step.empty(x.shape, x.dtype)
            return

        def resized(_: nn.Module, args: Any) -> Any:
            shape = list(args[0].shape)
            shape[axis] = size
            return self.step.empty(shape, args[0].dtype), *args[1:]

        culprit.register_forward_pre_hook(resized)

    def _mend_embedding(self, key: str, culprit: nn.Embedding, name: str | None, given: Tensor) -> None:
        rows = culprit.num_embeddings
        consumer = self._named(key, rows, TAKES) or f"the {rows} rows of the embedding in {key}"
        origin = self.origins.get(name or "", "the batch")
        self.findings.mismatch(key, f"{consumer} does not match the {int(given.max()) + 1} ids of {origin}.")
        culprit.register_forward_pre_hook(lambda _, args: (args[0].clamp(max=rows - 1), *args[1:]))

    def _input(self, key: str, module: nn.Module, args: Any, kwargs: Any) -> tuple[str | None, Tensor | None]:
        """Name and value of the tensor that a component works on."""
        first = args[0] if args else next((kwargs[name] for name in _MODEL_INPUTS if kwargs.get(name) is not None), None)
        if isinstance(first, Mapping):
            name = getattr(module, "modality", key.rpartition(".")[2])
            value = first.get(name)
            return name, value if isinstance(value, Tensor) else None
        read = next((name for reader, name in self.reading.items() if f"{key}.".startswith(f"{reader}.")), None)
        return read, first if isinstance(first, Tensor) else None

    def _named(self, key: str, size: int, preferred: tuple[str, ...]) -> str | None:
        name = argument_with(self.builder.configs.get(key, {}), size, preferred)
        return name and f"{key}.{name}={size}"

    def source(self, tensor: Tensor, name: str | None, size: int) -> str:
        """Where a tensor comes from, with the argument that gives it its size if there is one."""
        key = getattr(tensor, "made_by", None)
        if key is None:
            return f"the {size} of {self.origins.get(name or '', 'its input')}"
        nearest = key
        while key is not None:
            if said := self._named(key, size, GIVES):
                return said
            nearest, key = key, self._fed_by.get(key)
        return f"the {size} of {self._origin_of(nearest)}"

    def _origin_of(self, key: str) -> str:
        """What a component that hands its input on hands on."""
        modality = self.builder.configs.get(key, {}).get("modality")
        reads_features = type(self.builder.objects.get(key)).__name__ == "IdentityEncoder"
        return f"{self.origins[modality]} (through {key})" if reads_features and modality in self.origins else key


def _embedding_all(guards: Guards, model: MultimodalEncoder) -> Callable[..., dict[str, Tensor]]:
    """The forward pass of a model that goes on with the next modality where one is broken."""

    def forward(inputs: Mapping[str, Any]) -> dict[str, Tensor]:
        embeddings = {}
        for name in [name for name in model.module_keys if name in inputs]:
            height = len(guards._path)
            try:
                embeddings[Modalities.get_modality(name).embedding] = model.encode(inputs, name)
            except BrokenError:
                del guards._path[height:]
            except Exception as error:
                del guards._path[height:]
                key = f"task.encoders.{model.module_keys[name].encoder}"
                guards.findings.mismatch(key, f"{key}: {first_line(error)}")
        if not embeddings and model.module_keys:
            raise BrokenError
        return embeddings

    return forward


def with_equal_sizes(guards: Guards, args: Any) -> Any:
    """The arguments of a loss over pairs of modalities, with embeddings of one size; those that differ are noted."""
    if len(args) < 4 or not isinstance(args[0], Mapping) or not all(hasattr(pair, "modalities") for pair in args[3]):
        return args
    embeddings = dict(args[0])
    for pair in args[3]:
        first, second = (Modalities.get_modality(name).embedding for name in pair.modalities)
        if first in embeddings and second in embeddings and embeddings[first].shape[-1] != embeddings[second].shape[-1]:
            sizes = [embeddings[name].shape[-1] for name in (first, second)]
            sources = [guards.source(embeddings[name], None, size) for name, size in zip((first, second), sizes, strict=True)]
            guards.findings.mismatch(
                "task.modality_loss_pairs",
                f"{sources[1]} does not match {sources[0]}: the loss compares {pair.modalities[0]} with {pair.modalities[1]}.",
            )
            embeddings[second] = guards.step.empty((len(embeddings[second]), sizes[0]), embeddings[second].dtype)
    return (embeddings, *args[1:])
