"""Modalities and the names of everything that belongs to them."""

import difflib
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any


DEFAULT_PROPERTIES = {
    name: f"{{}}_{name}" for name in ("target", "mask", "attention_mask", "embedding", "masked_embedding", "ema_embedding")
}
DEFAULT_MODALITIES = ("rgb", "depth", "thermal", "text", "audio", "video")


def suggestion(name: str, known: Iterable[str]) -> str:
    """`` Did you mean 'rgb'?`` for a near miss, an empty string otherwise."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


class Modality(str):
    """The name of a modality; its properties are the keys under which data that belongs to it travels.

    A modality is a string, so it serves as a key wherever its name does. It never changes once it is made.

    Args:
        name: Name in lower case, which must be an identifier.
        properties: Property -> format string with one ``{}`` for the name; they come after the default properties and
            win over them.

    Raises:
        ValueError: The name is no identifier, or a format string has no ``{}``.

    Example:
        >>> rgb = Modality("rgb", {"boxes": "{}_boxes"})
        >>> rgb.name, rgb.target, rgb.ema_embedding, rgb.boxes
        ('rgb', 'rgb_target', 'rgb_ema_embedding', 'rgb_boxes')
    """

    name: str
    target: str
    mask: str
    attention_mask: str
    embedding: str
    masked_embedding: str
    ema_embedding: str

    def __new__(cls, name: str, properties: Mapping[str, str] | None = None) -> "Modality":
        if not name.isidentifier():
            raise ValueError(f"A modality's name must be an identifier such as 'dna' or 'audio_2', got {name!r}.")
        self = super().__new__(cls, name)
        keys = {p: _key(name, p, pattern) for p, pattern in {**DEFAULT_PROPERTIES, **(properties or {})}.items()}
        self.__dict__.update(keys, name=name)
        return self

    @property
    def properties(self) -> dict[str, str]:
        """Property -> key, e.g. ``{"target": "rgb_target", ...}``; without the name itself."""
        return {p: key for p, key in self.__dict__.items() if p != "name"}

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"A modality never changes. To give all of them a property {name!r}, {_HOW_TO_ADD.format(name)}.")

    def __getattr__(self, name: str) -> str:
        if name.startswith("__"):  # asked for by copy and pickle
            raise AttributeError(name)
        known = self.__dict__
        raise AttributeError(
            f"Modality {str(self)!r} has no property {name!r}. It has: {', '.join(known)}.{suggestion(name, known)} "
            f"To add one, {_HOW_TO_ADD.format(name)}."
        )

    def __str__(self) -> str:
        return self.name


_HOW_TO_ADD = "call Modalities.add_default_property('{0}', '{{}}_{0}')"


def _key(modality: str, prop: str, pattern: str) -> str:
    if prop == "name" or not prop.isidentifier():
        raise ValueError(f"A property's name must be an identifier other than 'name', got {prop!r}.")
    if pattern.count("{}") != 1:
        raise ValueError(f"The format string of property {prop!r} must hold '{{}}' once, as in '{{}}_{prop}', got {pattern!r}.")
    return pattern.format(modality)


class ModalityRegistry:
    """All modalities, with attribute access in any case; there is one, :data:`Modalities`.

    Example:
        >>> str(Modalities.RGB), Modalities.rgb.target, Modalities.Text.attention_mask
        ('rgb', 'rgb_target', 'text_attention_mask')
    """

    _instance: "ModalityRegistry | None" = None

    _modalities: dict[str, Modality]
    _own_properties: dict[str, dict[str, str]]
    _default_properties: dict[str, str]

    def __new__(cls) -> "ModalityRegistry":
        if cls._instance is None:
            cls._instance = super().__new__(cls)
            cls._instance._modalities, cls._instance._own_properties = {}, {}
            cls._instance._default_properties = {}
            for name in DEFAULT_MODALITIES:
                cls._instance.register_modality(name)
        return cls._instance

    def register_modality(self, name: str, properties: Mapping[str, str] | None = None) -> Modality:
        """Add a modality, with a warning if that replaces one.

        Args:
            name: Name; kept in lower case.
            properties: Properties of this modality alone: property -> format string such as ``"{}_boxes"``.

        Raises:
            ValueError: The name is no identifier or belongs to the registry, or a format string has no ``{}``.
        """
        name = name.lower()
        if hasattr(type(self), name):
            raise ValueError(f"A modality cannot be called {name!r}: Modalities.{name} has another meaning.")
        modality = Modality(name, {**self._default_properties, **(properties or {})})
        if name in self._modalities:
            warnings.warn(f"Modality {name!r} is registered already; overwriting it.", UserWarning, stacklevel=2)
        self._modalities[name], self._own_properties[name] = modality, dict(properties or {})
        return modality

    def add_default_property(self, name: str, format_string: str) -> None:
        """Give every modality, present and future, a property.

        Args:
            name: Name of the property; a warning is given if it exists.
            format_string: The key, with ``{}`` for the modality's name, e.g. ``"{}_caption"``.

        Raises:
            ValueError: The name is no identifier, or the format string has no ``{}``.
        """
        _key("modality", name, format_string)
        if name in {**DEFAULT_PROPERTIES, **self._default_properties}:
            warnings.warn(f"Property {name!r} exists already; overwriting it.", UserWarning, stacklevel=2)
        self._default_properties[name] = format_string
        for modality, own in self._own_properties.items():
            self._modalities[modality] = Modality(modality, {**self._default_properties, **own})

    def has_modality(self, name: str) -> bool:
        """Whether a modality of that name, in any case, is registered."""
        return name.lower() in self._modalities

    def get_modality(self, name: str) -> Modality:
        """The modality of that name, in any case.

        Raises:
            ValueError: There is none; the error lists what there is.
        """
        if not self.has_modality(name):
            raise ValueError(self._unknown(name))
        return self._modalities[name.lower()]

    def list_modalities(self) -> list[Modality]:
        """All modalities, in the order of their registration."""
        return list(self._modalities.values())

    def keys_of_all(self) -> set[str]:
        """Every key that a modality uses: its name and its properties."""
        return {key for modality in self._modalities.values() for key in (modality.name, *modality.properties.values())}

    def __iter__(self) -> Iterator[Modality]:
        return iter(self.list_modalities())

    def __getattr__(self, name: str) -> Modality:
        if name.startswith("__") or not self.has_modality(name):
            raise AttributeError(name if name.startswith("__") else self._unknown(name))
        return self._modalities[name.lower()]

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *(name.upper() for name in self._modalities)]

    def __reduce__(self) -> tuple[type["ModalityRegistry"], tuple[()]]:
        return ModalityRegistry, ()

    def _unknown(self, name: str) -> str:
        return (
            f"Unknown modality {name!r}. Known: {', '.join(self)}.{suggestion(name.lower(), self._modalities)} "
            f"Add it with Modalities.register_modality({name.lower()!r})."
        )


#: The registry of modalities.
Modalities = ModalityRegistry()
