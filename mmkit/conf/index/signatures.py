"""Signatures read from source, memoised."""

from pathlib import Path
from typing import Any

from mmkit.conf.index.coding import Broken, decode_signature, encode_signature
from mmkit.conf.index.memo import remembered
from mmkit.conf.reading.errors import Unreadable
from mmkit.conf.reading.results import Signature


_read: dict[str, Signature | Unreadable] = {}


def signature(dotted: str) -> Signature:
    """The signature of what a ``_target_`` names.

    Raises:
        NoSuchModule, NoSuchName: There is no such thing.
        Unreadable: Only importing would tell.
    """
    if dotted not in _read:
        _read[dotted] = remembered("signature", dotted, lambda: _from_source(dotted), _encode, _decode)
    found = _read[dotted]
    if isinstance(found, Unreadable):
        raise Unreadable(found.reason)
    return found


def forget_signatures() -> None:
    """Read them anew."""
    _read.clear()


def _from_source(dotted: str) -> Signature | Unreadable:
    from mmkit.conf.reading.signatures import read_signature

    try:
        return read_signature(dotted)
    except Unreadable as unreadable:
        return unreadable


def _encode(found: Signature | Unreadable) -> Any:
    return {"unreadable": found.reason} if isinstance(found, Unreadable) else encode_signature(found)


def _decode(coded: Any, sources: tuple[Path, ...]) -> Signature | Unreadable:
    match coded:
        case {"unreadable": str(reason)}:
            return Unreadable(reason)
        case {"unreadable": _}:
            raise Broken("a reason")
    return decode_signature(coded, sources)
