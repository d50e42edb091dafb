from mmkit.datasets.core import DefaultDataCollator, Example
from mmkit.datasets.masking import RandomMaskGenerator
from mmkit.datasets.tokenizers import ByteTokenizer
from mmkit.datasets.transforms import Compose, TrimText


def test_transforms_run_in_the_order_of_a_list_or_a_mapping() -> None:
    assert Compose([TrimText(2), str.upper])("abc") == "AB"
    assert Compose({"upper": str.upper, "trim": TrimText(1)})("abc") == "A"


def test_text_is_trimmed_tokenized_and_masked_by_one_batch_processor() -> None:
    tokenizer = ByteTokenizer()
    mask = RandomMaskGenerator(tokenizer.mask_id, tokenizer.vocab_size, tokenizer.special_ids, probability=1.0)
    collate = DefaultDataCollator({"text": Compose([TrimText(3), tokenizer, mask])})
    batch = collate([Example(dataset_index=0, example_index=i, text=text) for i, text in enumerate(["a", "a long text"])])
    assert batch["text"].shape == batch["text_mask"].shape == batch["text_target"].shape == (2, 5)
    assert batch["text_attention_mask"].tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]
    assert set(batch["example_ids"]) == {"text", "text_attention_mask", "text_mask", "text_target"}
