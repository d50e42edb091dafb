import multiprocessing
import pickle

import pytest
from torch.utils.data import DataLoader

from mmkit.datasets.core import CombinedDataset, DefaultDataCollator
from mmkit.datasets.text.dataset import TextMMap
from mmkit.datasets.tokenizers import SentencePieceTokenizer, train_sentencepiece
from mmkit.datasets.tokenizers.characters import ByteTokenizer, CharacterTokenizer
from mmkit.errors import RefusedError, UsageError
from tests.datasets.text.tiny_tokenizers import Pairs


@pytest.fixture
def wiki(tmp_path):
    path = tmp_path / "wiki.txt"
    path.write_text("".join(f"article {i}\n" for i in range(100)))
    return str(path)


@pytest.fixture
def books(tmp_path):
    path = tmp_path / "books.txt"
    path.write_text("".join(f"book {i}\r\n" for i in range(10)))
    return str(path)


@pytest.fixture
def long(tmp_path):
    path = tmp_path / "long.txt"
    path.write_text("short\n" + "é long line " * 20 + "\nshort too\n" + "x" * 100 + "\nend")
    return str(path)


def texts(dataset):
    return [dataset[i].text for i in range(len(dataset))]


def test_examples_are_documents(books):
    dataset = TextMMap(books)
    assert dict(dataset[3]) == {"example_index": 3, "text": "book 3"}
    assert len(dataset) == 10
    with pytest.raises(IndexError, match=r"Index 10 is out of range for 10 examples."):
        dataset[10]


def test_splits_are_contiguous_parts(wiki):
    train, validation, test = (TextMMap(wiki, split, "800,100,100") for split in ("train", "val", "test"))
    assert texts(train) + texts(validation) + texts(test) == texts(TextMMap(wiki))
    assert (len(train), len(validation), len(test)) == (80, 10, 10)


def test_splits_may_have_files_of_their_own(wiki, books):
    prefix = {"train": wiki, "validation": books}
    assert texts(TextMMap(prefix, "validation")) == texts(TextMMap(books))
    with pytest.raises(UsageError, match="leave splits_string out"):
        TextMMap(prefix, splits_string="1,1")


def test_every_file_is_split(wiki, books):
    test = TextMMap([wiki, books], "test", "8,1,1")
    assert texts(test) == [f"article {i}" for i in range(90, 100)] + ["book 9"]
    assert test[10].example_index == 10


def test_blends_mix_files_by_weight(wiki, books):
    dataset = TextMMap([0.75, wiki, 0.25, books], num_samples=40)
    assert [sum(text.startswith("book") for text in texts(dataset)[: 4 * n]) for n in range(11)] == list(range(11))
    assert {dataset[i].example_index for i in range(40) if dataset[i].text.startswith("book")} == set(range(100, 110))
    assert texts(TextMMap([0.75, wiki, 0.25, books], num_samples=40)) == texts(dataset)


def test_a_blend_without_a_length_holds_every_document(wiki, books):
    dataset = TextMMap([1, wiki, 1, books])
    assert len(dataset) == 200
    assert set(texts(dataset)) == set(texts(TextMMap([wiki, books])))


def test_more_samples_than_documents_start_anew(books):
    dataset = TextMMap(books, num_samples=25)
    assert texts(dataset) == (texts(TextMMap(books)) * 3)[:25]
    assert dataset[13].example_index == 3


@pytest.mark.parametrize("tokenizer", [ByteTokenizer(), CharacterTokenizer(), Pairs()], ids=["bytes", "characters", "pairs"])
def test_long_lines_continue(long, tokenizer):
    whole = texts(TextMMap(long))
    pieces = texts(TextMMap(long, seq_length=30, tokenizer=tokenizer))
    assert "".join(pieces) == "".join(whole)
    assert len(pieces) > len(whole)
    assert max(map(len, tokenizer.encode(pieces, None))) <= 30
    assert pieces[0] == "short"
    assert pieces[-1] == "end"


def test_long_lines_continue_with_a_trained_vocabulary(tmp_path):
    pytest.importorskip("sentencepiece")
    lines = [" ".join(f"{a}{b}" for b in ("ness", "ing", "ed", "ly") * 9) for a in ("slow", "quick", "bright", "dark", "naïve")]
    path = tmp_path / "words.txt"
    path.write_text("\n".join(lines))
    model = train_sentencepiece(str(path), 36, cache_dir=str(tmp_path))
    tokenizer = SentencePieceTokenizer(model)
    pieces = texts(TextMMap(str(path), seq_length=12, tokenizer=tokenizer))
    assert "".join(pieces) == "".join(lines)
    assert max(map(len, tokenizer.encode(pieces, None))) <= 12


def test_a_tokenizer_that_would_cut_pieces_is_refused(long):
    with pytest.raises(UsageError, match=r"the tokenizer cuts texts to max_length=10.*Set seq_length=10 or less"):
        TextMMap(long, seq_length=30, tokenizer=ByteTokenizer(max_length=10))
    assert texts(TextMMap(long, seq_length=10, tokenizer=ByteTokenizer(max_length=10)))


def test_long_lines_are_truncated(long):
    whole = texts(TextMMap(long))
    cut = texts(TextMMap(long, seq_length=30, tokenizer=ByteTokenizer(), long_lines="truncate"))
    assert [text.startswith(piece) for text, piece in zip(whole, cut, strict=True)] == [True] * 5
    assert [len(piece) == len(text) for text, piece in zip(whole, cut, strict=True)] == [True, False, True, False, True]
    assert max(map(len, ByteTokenizer().encode(cut, None))) <= 30


@pytest.mark.parametrize(
    ("data", "form"),
    [
        ('id,text\n1,"é, ' + "x y\n" * 30 + '"\n2,b\n', {"data_impl": "csv_mmap"}),
        ('{"text": "\\u00e9' + "x y\\n" * 30 + '"}\n{"text": "b"}\n', {"data_impl": "jsonl_mmap"}),
        ("é\xa0" + "x y " * 30 + "\n\n  \nb", {}),
    ],
    ids=["csv", "jsonl", "text"],
)
def test_fields_and_lines_continue_alike(tmp_path, data, form):
    path = tmp_path / "file"
    path.write_text(data)
    pieces = TextMMap(str(path), seq_length=20, tokenizer=ByteTokenizer(), **form)
    assert "".join(texts(pieces)) == "".join(texts(TextMMap(str(path), **form)))
    assert max(map(len, ByteTokenizer().encode(texts(pieces), None))) <= 20


def test_pieces_of_a_document_stay_in_its_split(long):
    splits = [TextMMap(long, split, "3,1,1", seq_length=30, tokenizer=ByteTokenizer()) for split in ("train", "val", "test")]
    documents = texts(TextMMap(long))
    assert ["".join(texts(split)) for split in splits] == ["".join(documents[:3]), documents[3], documents[4]]


def test_cuts_are_made_once_and_again_when_the_tokenizer_changes(long):
    calls = []

    class Counting(ByteTokenizer):
        def encode(self, texts, max_length):
            calls.append(len(texts))
            return super().encode(texts, max_length)

    first = texts(TextMMap(long, seq_length=30, tokenizer=Counting()))
    made = len(calls)
    calls.clear()
    assert texts(TextMMap(long, seq_length=30, tokenizer=Counting())) == first
    assert len(calls) < made / 2  # the digest alone
    assert texts(TextMMap(long, seq_length=30, tokenizer=CharacterTokenizer())) != first
    assert texts(TextMMap(long, seq_length=30, tokenizer=CharacterTokenizer(alphabet="é long", lowercase=True))) != first


def test_a_vocabulary_that_changes_under_its_name_is_noticed(long):
    tokenizer = Pairs()
    first = texts(TextMMap(long, seq_length=30, tokenizer=tokenizer))
    tokenizer.encode = lambda given, max_length: [[0, *text.encode(), 1] for text in given]
    assert texts(TextMMap(long, seq_length=30, tokenizer=tokenizer)) != first


def test_a_changed_file_is_cut_anew(long, tmp_path):
    TextMMap(long, seq_length=30, tokenizer=ByteTokenizer())
    (tmp_path / "long.txt").write_text("y" * 100)
    assert "".join(texts(TextMMap(long, seq_length=30, tokenizer=ByteTokenizer()))) == "y" * 100


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_read_what_the_process_reads(wiki, books, method):
    dataset = TextMMap([3, wiki, 1, books], num_samples=32, seq_length=9, tokenizer=ByteTokenizer())
    loader = DataLoader(dataset, batch_size=8, num_workers=1, collate_fn=list, multiprocessing_context=method)
    assert [example.text for batch in loader for example in batch] == texts(dataset)


def test_pickles_are_small(wiki):
    dataset = TextMMap(wiki, seq_length=9, tokenizer=ByteTokenizer())
    pickled = pickle.dumps(dataset)
    assert len(pickled) < 2500
    assert texts(pickle.loads(pickled)) == texts(dataset)


def read_in_process(dataset, queue):
    queue.put(dataset[5].text)


def test_a_process_that_was_forked_reads_too(wiki):
    dataset, context = TextMMap(wiki), multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=read_in_process, args=(dataset, queue))
    process.start()
    assert queue.get(timeout=60) == "article 5"
    process.join()


def test_examples_make_a_batch_like_their_specification(wiki):
    tokenizer = ByteTokenizer()
    dataset = CombinedDataset([TextMMap(wiki, seq_length=9, tokenizer=tokenizer)])
    batch = DefaultDataCollator({"text": tokenizer})([dataset[0], dataset[1]])
    assert 7 <= batch["text"].shape[1] <= 9
    spec = TextMMap.example_spec(wiki, seq_length=9, tokenizer=tokenizer)
    assert 7 <= len(tokenizer(spec.text)["text"]) <= 9
    assert list(spec) == list(TextMMap(wiki)[0])
    assert isinstance(TextMMap.example_spec(wiki).text, str)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"split": "dev"}, "Unknown split 'dev'"),
        ({"split": "val"}, "split='val' of files that are not split: set splits_string, or leave split out"),
        (
            {"splits_string": "1000,1,1"},
            r"wiki.txt: .* of 100 documents leaves a split empty: train 100, validation 0",
        ),
        ({"splits_string": "1,1", "split": "test"}, "gives test a share of 0"),
        ({"seq_length": 10}, "seq_length=10 is a number of tokens: give the `tokenizer`, too"),
        ({"long_lines": "wrap"}, "Unknown long_lines 'wrap'. Allowed: continue, truncate."),
        ({"num_samples": 0}, "num_samples=0: give 1 or more."),
        ({"modality": "words"}, "Unknown modality 'words'"),
        ({"data_impl": "mmap"}, "Unknown data_impl 'mmap'"),
    ],
)
def test_mistakes_are_named(wiki, arguments, says):
    with pytest.raises(ValueError, match=says):
        TextMMap(wiki, **arguments)


def test_a_blend_names_the_file_that_would_give_no_example(wiki, books):
    with pytest.raises(UsageError, match=r"books.txt has weight 1 of 1001: of 200 samples, that is 0.2"):
        TextMMap([1000, wiki, 1, books], num_samples=200)


def test_files_without_documents_are_refused_unless_others_have_some(wiki, tmp_path):
    (tmp_path / "empty.txt").write_text("\n \n")
    empty = str(tmp_path / "empty.txt")
    assert len(TextMMap([wiki, empty])) == 100
    with pytest.raises(RefusedError, match=r"empty.txt has no documents: there are only blank lines, or nothing."):
        TextMMap(empty)
    with pytest.raises(RefusedError, match=r"empty.txt has no documents"):
        TextMMap([1, wiki, 1, empty])
