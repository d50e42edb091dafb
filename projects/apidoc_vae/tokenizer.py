"""A SentencePiece vocabulary of the documentation texts."""

from collections.abc import Mapping
from typing import Any

from mmkit.conf import external_store
from mmkit.datasets.tokenizers import SentencePieceTokenizer
from projects.apidoc_vae.recipe import APIDocsRecipe


#: Texts that the vocabulary is trained on; all of them take a minute longer.
_SETTINGS = {"input_sentence_size": 50_000, "shuffle_input_sentence": True}


@external_store(group="datasets/tokenizers", name="APIDocsTokenizer")
def apidocs_tokenizer(vocab_size: int = 2000, max_length: int | None = None, model: str | None = None) -> SentencePieceTokenizer:
    """Trained on the training texts when it is first needed, and kept in mmkit's cache.

    Args:
        vocab_size: Number of ids.
        max_length: Most tokens of a text; longer ones are cut.
        model: A trained model file, with which the texts are not needed; archives of tasks bring theirs.
    """
    if model is not None:
        return SentencePieceTokenizer(model=model, max_length=max_length)
    texts = str(APIDocsRecipe().locate() / "train.txt")
    return SentencePieceTokenizer(train_on=texts, vocab_size=vocab_size, training_settings=_SETTINGS, max_length=max_length)


def _archived_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What an archive has of the arguments: the model that was trained."""
    given = {name: arguments[name] for name in ("vocab_size", "model") if arguments.get(name) is not None}
    return {"model": apidocs_tokenizer(**given).model}


# Archives of tasks take the file along; see mmkit.archive.artifacts.
apidocs_tokenizer.artifact_arguments = ("model",)  # pyright: ignore[reportFunctionMemberAccess]
apidocs_tokenizer.archived_arguments = _archived_arguments  # pyright: ignore[reportFunctionMemberAccess]
