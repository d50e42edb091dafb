"""A SentencePiece vocabulary of the documentation texts."""

from mmkit.conf import external_store
from mmkit.datasets.tokenizers import SentencePieceTokenizer
from projects.apidoc_vae.recipe import APIDocsRecipe


@external_store(group="datasets/tokenizers", name="APIDocsTokenizer")
def apidocs_tokenizer(vocab_size: int = 2000, max_length: int | None = None) -> SentencePieceTokenizer:
    """Trained on the training texts when it is first needed, and kept in mmkit's cache.

    Args:
        vocab_size: Number of ids.
        max_length: Most tokens of a text; longer ones are cut.
    """
    texts = APIDocsRecipe().locate() / "train.txt"
    sampled = {"input_sentence_size": 50_000, "shuffle_input_sentence": True}  # a minute less than with all
    return SentencePieceTokenizer(train_on=str(texts), vocab_size=vocab_size, training_settings=sampled, max_length=max_length)
