"""What the names of a pipeline stand for."""

from collections.abc import Iterable, Mapping

from mmkit.hiddens.errors import HiddensError, did_you_mean, listed
from mmkit.hiddens.reader import MASK, NamedInputs, Source
from mmkit.hiddens.transform import BaseHiddenTransform
from mmkit.hiddens.values import name_tuple


HIDDENS, ENC_OUTPUT = "hiddens", "enc_output"
GIVEN = (HIDDENS, HIDDENS + MASK)
_RESERVED = (*GIVEN, ENC_OUTPUT, ENC_OUTPUT + MASK)


class Names:
    """All tensors of a pipeline by name: those that it is given, and those that its transformations make.

    The output ``z`` of the transformation ``q`` has the full name ``q.z``, and the short name ``z`` unless another makes a ``z``.

    Args:
        given: Full names of what the pipeline is given.
        transforms: The transformations by name, in their order.

    Raises:
        HiddensError: A name stands for two things, or a transformation reads what nothing before it makes.

    Attributes:
        given: As given.
        aliases: Full names by the short names that are unambiguous.
    """

    def __init__(self, given: Iterable[str], transforms: Mapping[str, BaseHiddenTransform]) -> None:
        self.given = tuple(given)
        self._transforms = dict(transforms)
        self._owners: dict[str, str] = {}  # full name -> name of the transformation
        self._made: dict[str, list[str]] = {}  # output's own name -> full names
        self._read: dict[str, dict[str, Source]] = {}
        for name, transform in self._transforms.items():
            self._add(name, transform)
        for name, transform in self._transforms.items():
            self._read[name] = transform.sources = self.bind(f"hiddens.transform.{name}", transform)
        self.aliases = {own: full[0] for own, full in self._made.items() if len(full) == 1 and own not in self.given}

    def owner(self, full_name: str) -> str | None:
        """The transformation that makes a tensor; None if the pipeline is given it."""
        return self._owners.get(full_name)

    def resolve(self, name: str, key: str) -> str:
        """The full name of what a setting names.

        Args:
            name: A full or a short name.
            key: The setting, for messages.
        """
        candidates = self._candidates(name)
        if len(candidates) > 1:
            raise HiddensError(f"{key}={name!r} could be any of {listed(candidates)}. Write one of these.")
        if not candidates:
            raise HiddensError(f"{key}={name!r}: {self._nothing_makes(name)}")
        return candidates[0]

    def bind(self, reader: str, part: NamedInputs) -> dict[str, Source]:
        """Where the inputs of a part come from.

        Args:
            reader: Its key, for messages.
            part: A transformation or a loss.

        Returns:
            By the part's own input names.
        """
        name_tuple(reader, "input_names", part.input_names)
        for own in part.inputs:
            if own not in part.input_names:
                close = did_you_mean(own, part.input_names)
                raise HiddensError(f"{reader}.inputs: it reads no {own!r}.{close} It reads: {listed(part.input_names)}.")
        return {own: self._source(reader, part, own) for own in part.input_names}

    def read_by(self, transform: str) -> dict[str, Source]:
        """Where the inputs of a transformation come from, by its own input names."""
        return self._read[transform]

    def mask(self, full_name: str) -> Source:
        """The mask of a tensor."""
        owner, beside = self._owners.get(full_name), full_name + MASK
        if beside in self.given or beside in self._owners:
            return Source(beside)
        follows = None if owner is None else self.positions(owner)
        return Source(full_name, all_real=True) if follows is None else self.mask(follows)

    def positions(self, transform: str) -> str | None:
        """The full name of what has the same positions as the outputs of a transformation; None if they are its own."""
        follows, read = self._transforms[transform].positions_from, self._read[transform]
        if follows is None:
            return None
        if follows not in read:
            raise HiddensError(
                f"{self._key(transform)}: positions_from={follows!r} is none of its inputs. Set it to one of: {listed(read)}; "
                "or to None, if the outputs have positions of their own."
            )
        return read[follows].name

    def fixed_positions(self, full_name: str) -> int | None:
        """How many positions a tensor always has; None if that depends on the encoder's output."""
        owner = self._owners.get(full_name)
        if owner is None:
            return None
        own, follows = self._transforms[owner].num_positions, self.positions(owner)
        return own if own is not None or follows is None else self.fixed_positions(follows)

    def latent(self, full_name: str) -> bool:
        """Whether a tensor is made by a transformation with a latent variable."""
        owner = self._owners.get(full_name)
        return owner is not None and self._transforms[owner].latent_size is not None

    def _key(self, transform: str) -> str:
        return f"hiddens.transform.{transform} ({type(self._transforms[transform]).__name__})"

    def _add(self, name: str, transform: BaseHiddenTransform) -> None:
        name_tuple(self._key(name), "output_names", transform.output_names)
        if not transform.output_names:
            raise HiddensError(f"{self._key(name)} makes nothing: set output_names in the class or its constructor.")
        for own in transform.output_names:
            full = f"{name}.{own}"
            if "." in own:
                raise HiddensError(f"{self._key(name)} makes {own!r}: a dot is for {full!r}, the full name. Leave it out.")
            if own in _RESERVED:
                raise HiddensError(f"{self._key(name)} makes {own!r}, a name of the pipeline itself. Rename this output.")
            if full in self.given:
                raise HiddensError(f"{self._key(name)} makes {full!r}, which the model gives. Rename the transformation.")
            if full in self._owners:
                raise HiddensError(f"{self._key(name)} makes {own!r} twice. Name its outputs differently.")
            self._owners[full] = name
            self._made.setdefault(own, []).append(full)

    def _candidates(self, name: str) -> list[str]:
        return [name] if name in self.given or name in self._owners else self._made.get(name, [])

    def _source(self, reader: str, part: NamedInputs, own: str) -> Source:
        masked = own.removesuffix(MASK)
        if own != masked and own not in part.inputs and self._candidates(part.inputs.get(masked, masked)):
            return self.mask(self._full_name(reader, part, masked))
        return Source(self._full_name(reader, part, own))

    def _full_name(self, reader: str, part: NamedInputs, own: str) -> str:
        name = part.inputs.get(own, own)
        candidates = self._candidates(name)
        if len(candidates) > 1:
            named = {self._owners.get(other) for other in part.inputs.values()}
            candidates = [each for each in candidates if self._owners[each] in named] or candidates
        if len(candidates) > 1:
            which = " or ".join(f"inputs: {{{own}: {each}}}" for each in candidates)
            raise HiddensError(f"{reader} reads {name!r}, which could be any of {listed(candidates)}. Say which: {which}.")
        if not candidates:
            hint = f" {part.input_hints[own]}" if own in part.input_hints else ""
            raise HiddensError(f"{reader} reads {name!r}: {self._nothing_makes(name)}{hint}")
        self._check_order(reader, part, candidates[0])
        return candidates[0]

    def _check_order(self, reader: str, part: NamedInputs, full_name: str) -> None:
        owner = self._owners.get(full_name)
        if isinstance(part, BaseHiddenTransform) and owner is not None and owner not in self._read:
            when = "itself" if self._transforms[owner] is part else "later"
            raise HiddensError(
                f"{reader} reads {full_name!r}, which {owner} makes {when}. Transformations run in the order in which they are "
                "written; a list of dicts fixes it."
            )

    def _nothing_makes(self, name: str) -> str:
        known = (*self.given, *self._owners)
        return f"nothing makes it.{did_you_mean(name, (*known, *self._made))} There are: {listed(known)}."
