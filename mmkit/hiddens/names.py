"""What the names of a pipeline stand for."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

from mmkit.hiddens.errors import HiddensError, did_you_mean, listed
from mmkit.hiddens.reader import NamedInputs
from mmkit.hiddens.transform import BaseHiddenTransform


HIDDENS, ENC_OUTPUT, MASK = "hiddens", "enc_output", "_mask"
GIVEN = (HIDDENS, HIDDENS + MASK)
RESERVED = (*GIVEN, ENC_OUTPUT, ENC_OUTPUT + MASK)


@dataclass(frozen=True)
class Source:
    """Where a tensor comes from.

    Attributes:
        name: Full name of a tensor of the pipeline, e.g. ``"q.z"``.
        all_real: Not that tensor, but a mask that keeps all of its positions.
    """

    name: str
    all_real: bool = False

    def of(self, named: Mapping[str, Tensor]) -> Tensor:
        """The tensor, among those of the pipeline by full name."""
        tensor = named[self.name]
        return tensor.new_ones(tensor.shape[:2], dtype=bool) if self.all_real else tensor


class Names:
    """All tensors of a pipeline by name: those that it is given, and those that its transformations make.

    The output ``z`` of the transformation ``q`` has the full name ``q.z``, and the short name ``z`` as long as no other makes one.

    Args:
        given: Full names of what the pipeline is given.
        transforms: The transformations by name, in their order.

    Raises:
        HiddensError: A name stands for two things, or a transformation reads what nothing before it makes.
    """

    def __init__(self, given: Iterable[str], transforms: Mapping[str, BaseHiddenTransform]) -> None:
        self._given = tuple(given)
        self._transforms = dict(transforms)
        self._owners: dict[str, str] = {}  # full name -> name of the transformation
        self._made: dict[str, list[str]] = {}  # output's own name -> full names
        self._read: dict[str, dict[str, Source]] = {}
        for name, transform in self._transforms.items():
            self._add(name, transform)
        for name, transform in self._transforms.items():
            self._read[name] = self.bind(f"hiddens.transform.{name}", transform)

    @property
    def aliases(self) -> dict[str, str]:
        """Full names by the short names that are unambiguous."""
        return {own: full[0] for own, full in self._made.items() if len(full) == 1 and own not in self._given}

    def read_by(self, transform: str) -> dict[str, Source]:
        """What a transformation reads, by its own input names."""
        return self._read[transform]

    def owner(self, full_name: str) -> str | None:
        """The transformation that makes a tensor; None if the pipeline is given it."""
        return self._owners.get(full_name)

    def bind(self, reader: str, part: NamedInputs) -> dict[str, Source]:
        """Where the inputs of a part come from.

        Args:
            reader: Its key, for messages.
            part: A transformation or a loss.

        Returns:
            By the part's own input names.
        """
        for own in part.inputs:
            if own not in part.input_names:
                close = did_you_mean(own, part.input_names)
                raise HiddensError(f"{reader}.inputs: it reads no {own!r}.{close} It reads: {listed(part.input_names)}.")
        preferred = {self._owners.get(name) for name in part.inputs.values()} - {None}
        found = {
            own: Source(self._full_name(reader, own, part, preferred)) for own in part.input_names if not _is_mask(own, part)
        }
        masks = {own: self.mask(found[own.removesuffix(MASK)].name) for own in part.input_names if _is_mask(own, part)}
        return found | masks

    def resolve(self, name: str, key: str) -> str:
        """The full name of what a setting names.

        Args:
            name: A full or a short name.
            key: The setting, for messages.
        """
        if name in self._given or name in self._owners:
            return name
        candidates = self._made.get(name, [])
        if len(candidates) == 1:
            return candidates[0]
        if candidates:
            raise HiddensError(f"{key}={name!r} is ambiguous. Write one of: {listed(candidates)}.")
        raise HiddensError(f"{key}={name!r}: {self._nobody(name)}")

    def mask(self, full_name: str) -> Source:
        """The mask of a tensor."""
        owner = self._owners.get(full_name)
        beside = full_name + MASK
        if beside in self._given or beside in self._owners:
            return Source(beside)
        source = None if owner is None else self.positions(owner)
        return Source(full_name, all_real=True) if source is None else self.mask(source)

    def positions(self, transform: str) -> str | None:
        """The full name of what has the same positions as the outputs of a transformation; None if they are its own."""
        follows = self._transforms[transform].positions_from
        if follows is None:
            return None
        if follows not in self._read[transform]:
            key, names = f"hiddens.transform.{transform}", listed(self._read[transform])
            raise HiddensError(
                f"{key} ({type(self._transforms[transform]).__name__}): positions_from={follows!r} is none of its inputs. Set it "
                f"to one of: {names}; or to None, if the outputs have positions of their own."
            )
        return self._read[transform][follows].name

    def _add(self, name: str, transform: BaseHiddenTransform) -> None:
        key = f"hiddens.transform.{name} ({type(transform).__name__})"
        if not transform.output_names:
            raise HiddensError(f"{key} makes nothing: its output_names are empty. Set them in the class or its constructor.")
        for own in transform.output_names:
            full = f"{name}.{own}"
            if own in RESERVED:
                raise HiddensError(f"{key} makes {own!r}, a name of the pipeline itself. Give this output another name.")
            if full in self._owners or full in self._given:
                other = "the model gives, too" if full in self._given else "it makes twice"
                raise HiddensError(f"{key} makes {full!r}, which {other}. Call one of them otherwise.")
            self._owners[full] = name
            self._made.setdefault(own, []).append(full)

    def _full_name(self, reader: str, own: str, part: NamedInputs, preferred: set[str | None]) -> str:
        name = part.inputs.get(own, own)
        full, candidates = name, self._made.get(name, [])
        if name not in self._given and name not in self._owners:
            if len(candidates) > 1:
                candidates = [each for each in candidates if self._owners[each] in preferred] or candidates
            if not candidates:
                raise HiddensError(f"{reader} reads {name!r}: {self._nobody(name)}")
            if len(candidates) > 1:
                both = listed(self._owners[each] for each in candidates)
                which = " or ".join(f"inputs: {{{own}: {each}}}" for each in candidates)
                raise HiddensError(f"{reader} reads {name!r}, which several make ({both}). Say which: {which}.")
            full = candidates[0]
        owner = self._owners.get(full)
        if isinstance(part, BaseHiddenTransform) and owner is not None and owner not in self._read:
            raise HiddensError(
                f"{reader} reads {full!r}, which {owner} makes {'itself' if self._transforms[owner] is part else 'later'}. "
                "Transformations run in the order in which they are written; a list of dicts fixes it."
            )
        return full

    def _nobody(self, name: str) -> str:
        known = (*self._given, *self._owners)
        return f"nothing makes it.{did_you_mean(name, (*known, *self._made))} There are: {listed(known)}."


def _is_mask(own: str, part: NamedInputs) -> bool:
    """Whether an input is the mask of another one, and so need not be named."""
    return own.endswith(MASK) and own.removesuffix(MASK) in part.input_names and own not in part.inputs
