"""A tokenizer named by the library that does the work."""

import inspect
from typing import Any

from mmkit.conf.store import external_store
from mmkit.datasets.tokenizers.base import TextTokenizer
from mmkit.datasets.tokenizers.characters import ByteTokenizer, CharacterTokenizer
from mmkit.datasets.tokenizers.huggingface import HFTokenizer
from mmkit.datasets.tokenizers.sentencepiece import SentencePieceTokenizer


LIBRARIES: dict[str, type[TextTokenizer]] = {
    "sentencepiece": SentencePieceTokenizer,
    "huggingface": HFTokenizer,
    "bytes": ByteTokenizer,
    "characters": CharacterTokenizer,
}
_OWN_NAMES = {"huggingface": {"model": "model_name_or_path"}}


@external_store(group="datasets/tokenizers")
def text_tokenizer(
    library: str = "sentencepiece",
    model: str | None = None,
    train_on: str | list[str] | None = None,
    vocab_size: int | None = None,
    model_type: str | None = None,
    training_settings: dict[str, Any] | None = None,
    tokenizer_kwargs: dict[str, Any] | None = None,
    alphabet: str | None = None,
    lowercase: bool | None = None,
    max_length: int | None = None,
    padding: str | None = None,
    truncation: bool | None = None,
    modality: str | None = None,
) -> TextTokenizer:
    """Make a tokenizer of a library: ``tokenizer.library=sentencepiece tokenizer.model=/path/to.model``.

    Args:
        library: ``sentencepiece`` (:class:`SentencePieceTokenizer`), ``huggingface`` (:class:`HFTokenizer`), ``bytes``
            (:class:`ByteTokenizer`) or ``characters`` (:class:`CharacterTokenizer`). The arguments below are theirs; those of
            another library cannot be given. What is not given has the default of the library's class.
        model: For ``sentencepiece``, a model file; for ``huggingface``, a folder or a name.
        train_on: For ``sentencepiece``, instead of ``model``: text to train one on.
        vocab_size: For ``sentencepiece`` with ``train_on``.
        model_type: For ``sentencepiece`` with ``train_on``.
        training_settings: For ``sentencepiece`` with ``train_on``.
        tokenizer_kwargs: For ``huggingface``.
        alphabet: For ``characters``.
        lowercase: For ``characters``.
        max_length: See :class:`TextTokenizer`.
        padding: See :class:`TextTokenizer`.
        truncation: See :class:`TextTokenizer`.
        modality: See :class:`TextTokenizer`.

    Raises:
        ValueError: If the library is unknown, does not take an argument, or lacks one.
    """
    given = {name: value for name, value in locals().items() if name != "library" and value is not None}
    if library not in LIBRARIES:
        raise ValueError(f"Unknown tokenizer library {library!r}. Choose one of: {', '.join(LIBRARIES)}.")
    cls = LIBRARIES[library]
    own_names = _OWN_NAMES.get(library, {})
    taken = list(inspect.signature(cls).parameters)
    arguments = {own_names.get(name, name): value for name, value in given.items()}
    if wrong := [name for name in given if own_names.get(name, name) not in taken]:
        allowed = [{own: name for name, own in own_names.items()}.get(name, name) for name in taken]
        raise ValueError(f"tokenizer.library={library} takes no `{wrong[0]}`. It takes: {', '.join(allowed)}.")
    if library == "huggingface" and model is None:
        raise ValueError("tokenizer.library=huggingface needs a `model`: a local folder, or a name on the hub.")
    return cls(**arguments)


# Archives of tasks take the file along; see mmkit.archive.artifacts.
text_tokenizer.artifact_arguments = ("model",)  # pyright: ignore[reportFunctionMemberAccess]
text_tokenizer.archived_arguments = SentencePieceTokenizer.archived_arguments  # pyright: ignore[reportFunctionMemberAccess]
