"""The data set ``TextMMap``: documents of memory-mapped text files."""

from bisect import bisect_right
from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from mmkit.conf.store import external_store
from mmkit.constants import EXAMPLE_INDEX_KEY
from mmkit.datasets.core import Example, Modalities
from mmkit.datasets.text.blending import Blend, Cycle
from mmkit.datasets.text.documents import Documents
from mmkit.datasets.text.opening import Format, open_documents
from mmkit.datasets.text.parts import LONG_LINES, Part, WholeDocuments
from mmkit.datasets.text.pieces import find_or_make_cuts
from mmkit.datasets.text.prefixes import WeightedFiles, prefix_of_split, weighted_files
from mmkit.datasets.text.splits import SPLITS, split_bounds, split_named
from mmkit.datasets.text.token_limit import TokenLimit
from mmkit.errors import RefusedError, UsageError


_TYPICAL_WORDS = 100  # of an example, where nothing limits it


@external_store(group="datasets")
class TextMMap(Dataset[Example]):
    r"""Documents of text files that stay on disk: one per line, or a field of CSV records or of JSON lines.

    Files are UTF-8 (a byte order mark is skipped); lines end with ``\n`` or ``\r\n``, the last one may lack it. Lines of nothing
    but spaces and tabs are no documents; an empty field is one. Where each record starts is looked up in an index that is
    built at the first use and whenever a file has changed.

    An example has the document (``text``, a string) and ``example_index``, its number among all that are read; an example that
    a blend draws again has the same.

    Args:
        data_prefix: A path or pattern; ``[path1, path2]`` reads files one after the other; ``[w1, path1, w2, path2]`` blends
            them, so that any prefix of an epoch holds each within one example of its share; or
            ``{train: …, validation: …, test: …}`` of these.
        split: ``"train"``, ``"validation"`` (or ``"val"``) or ``"test"``, of ``splits_string`` or ``data_prefix``. Leave it out
            where neither has splits: everything is read.
        splits_string: Shares of train, validation and test, e.g. ``"800,100,100"``: every file is cut into contiguous splits.
        data_impl: ``"text_mmap"``, ``"csv_mmap"`` or ``"jsonl_mmap"``.
        field: The CSV column's name or number from 0, the JSON field's name; default: ``"text"``, or column 0 of a CSV file
            without header.
        header: Whether the first CSV record names the columns.
        delimiter: What separates CSV fields.
        quote: What stands around CSV fields that hold delimiters or line breaks (RFC 4180); ``""`` if nothing does.
        invalid_bytes: ``"error"`` refuses files that are not UTF-8, ``"replace"`` reads every such byte as U+FFFD.
        seq_length: Most tokens of an example, special tokens included; needs ``tokenizer``. Default: no limit.
        tokenizer: Tells how long a text is: ``tokenizer.encode(texts, None)`` gives lists of ids.
        long_lines: ``"continue"`` makes further examples of what a longer document has beyond; ``"truncate"`` drops it.
        num_samples: Examples of an epoch; documents are drawn again if there are fewer. Default: all, once; of a blend,
            enough that all are drawn.
        index_mapping_dir: Folder of the indexes; default: beside each file, or, where that cannot be written, in mmkit's data
            folder.
        modality: Key of the documents.

    Raises:
        UsageError: The arguments do not fit together, a split would be empty, or a blended file would give no example.
        RefusedError: A file is missing, not of its format, or without any document.
    """

    def __init__(
        self,
        data_prefix: str | list[Any] | dict[str, Any],
        split: str = "train",
        splits_string: str | None = None,
        data_impl: str = "text_mmap",
        field: str | int | None = None,
        header: bool = True,
        delimiter: str = ",",
        quote: str = '"',
        invalid_bytes: str = "error",
        seq_length: int | None = None,
        tokenizer: Any = None,
        long_lines: str = "continue",
        num_samples: int | None = None,
        index_mapping_dir: str | None = None,
        modality: str = "text",
    ) -> None:
        self.split = split_named(split)
        self._key = Modalities.get_modality(modality).name
        if isinstance(data_prefix, Mapping) and splits_string is not None:
            raise UsageError("data_prefix names the files of every split; leave splits_string out.")
        if not isinstance(data_prefix, Mapping) and splits_string is None and self.split != SPLITS[0]:
            raise UsageError(f"split={split!r} of files that are not split: set splits_string, or leave split out to read all.")
        form = Format(data_impl, field, header, delimiter, quote, invalid_bytes)
        limit = _limit(seq_length, tokenizer, long_lines)
        sources = weighted_files(prefix_of_split(data_prefix, self.split))
        folder = Path(index_mapping_dir).expanduser() if index_mapping_dir is not None else None
        opened = [[open_documents(path, form, folder) for path in source.paths] for source in sources]
        self._parts = [
            _part(documents, self.split, splits_string, limit, long_lines, folder) for source in opened for documents in source
        ]
        self._ends = list(accumulate(map(len, self._parts)))
        self._blend = self._blended(sources, num_samples)

    @staticmethod
    def example_spec(
        data_prefix: Any = None,
        seq_length: int | None = None,
        tokenizer: Any = None,
        modality: str = "text",
        **arguments: Any,
    ) -> Example:
        """An example without data, for ``mmkit plan``: a text of ``seq_length`` tokens, or of typical length.

        Args:
            data_prefix: Of no concern here.
            seq_length: As for the constructor.
            tokenizer: As for the constructor.
            modality: As for the constructor.
            **arguments: The constructor's others, which change no shape.
        """
        text = " ".join(["word"] * max(_TYPICAL_WORDS, seq_length or 0))
        limit = _limit(seq_length, tokenizer, "truncate")
        cuts = limit.cuts(text, whole=False) if limit is not None else []
        return Example({EXAMPLE_INDEX_KEY: 0, Modalities.get_modality(modality).name: text[: cuts[0]] if cuts else text})

    def __len__(self) -> int:
        return len(self._blend)

    def __getitem__(self, index: int) -> Example:
        if not 0 <= index < len(self._blend):
            raise IndexError(f"Index {index} is out of range for {len(self)} examples.")
        number = self._blend[index]
        part = bisect_right(self._ends, number)
        text = self._parts[part].text(number - (self._ends[part - 1] if part else 0))
        return Example({EXAMPLE_INDEX_KEY: number, self._key: text})

    def _blended(self, sources: list[WeightedFiles], num_samples: int | None) -> Cycle | Blend:
        """Which example of all parts stands at each position."""
        last = list(accumulate(len(source.paths) for source in sources))
        ends = [self._ends[i - 1] for i in last]
        sizes = np.diff([0, *ends]).tolist()
        names = [", ".join(map(str, source.paths)) for source in sources]
        for name, size in zip(names, sizes, strict=True):
            if size == 0:
                raise RefusedError(f"{name} has no documents: there are only blank lines, or nothing. Check `data_prefix`.")
        if num_samples is not None and num_samples < 1:
            raise UsageError(f"num_samples={num_samples}: give 1 or more.")
        if len(sources) == 1:
            return Cycle(sizes[0], num_samples if num_samples is not None else sizes[0])
        weights = [source.weight or 0.0 for source in sources]
        return Blend(sizes, weights, num_samples, names)


def _limit(seq_length: int | None, tokenizer: Any, long_lines: str) -> TokenLimit | None:
    if long_lines not in LONG_LINES:
        raise UsageError(f"Unknown long_lines {long_lines!r}. Allowed: {', '.join(LONG_LINES)}.")
    if seq_length is None:
        return None
    if tokenizer is None:
        raise UsageError(f"seq_length={seq_length} is a number of tokens: give the `tokenizer`, too, as the collator has it.")
    shortest = getattr(tokenizer, "max_length", None)
    if long_lines == "continue" and shortest is not None and shortest < seq_length:
        raise UsageError(
            f"seq_length={seq_length}, but the tokenizer cuts texts to max_length={shortest}, and what is cut off would be lost. "
            f"Set seq_length={shortest} or less, raise the tokenizer's max_length, or set long_lines=truncate."
        )
    return TokenLimit(seq_length, tokenizer)


def _part(
    documents: Documents, split: str, splits_string: str | None, limit: TokenLimit | None, long_lines: str, folder: Path | None
) -> Part:
    start, end = 0, len(documents)
    if splits_string is not None:
        try:
            bounds = split_bounds(len(documents), splits_string)
        except UsageError as error:
            raise UsageError(f"{documents.index.source}: {error}") from error
        start, end = bounds[split]
        if start == end:
            raise UsageError(f"splits_string={splits_string!r} gives {split} a share of 0 of {documents.index.source}.")
    if limit is None:
        return WholeDocuments(documents, start, end)
    cuts = find_or_make_cuts(documents, limit, long_lines == "continue", folder)
    return LONG_LINES[long_lines](documents, start, end, cuts)
