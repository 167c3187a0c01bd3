import copy
import logging
import sys
import tracemalloc

import pandas
import pytest
from datasets import Dataset, DatasetDict, IterableDataset, IterableDatasetDict
from tokenizers.processors import TemplateProcessing

from textvae.data.chitchat import load_chitchat
from textvae.data.corpora import load_corpus, load_texts
from textvae.data.tokenization import train_word_tokenizer
from textvae.data.tokenize import tokenize_corpus
from textvae.data.tokenizer_pair import TokenizerPair
from textvae.errors import InputError

LINES = [f"text number {i} of many" for i in range(200)]


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def texts(splits):
    """All texts of both splits, in an order that does not depend on the split."""
    return sorted(row["text"] for split in splits.values() for row in split)


FILES = {
    "plain.txt": "007\nNA\nx, y\n",
    "windows.txt": "\ufeff007\r\nNA\r\nx, y",
    "[odd]*.txt": "007\nNA\nx, y\n",
    "table.csv": 'n,text\n1,007\nb,NA\n3,"x, y"\n',
    "table.tsv": "n\ttext\n1\t007\nb\tNA\n3\tx, y\n",
    "rows.jsonl": '{"text": "007"}\n{"text": "NA", "n": 1}\n{"text": "x, y"}\n',
    "rows.json": '[{"text": "007"}, {"text": "NA"}, {"text": "x, y"}]',
}


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("name", FILES)
def test_every_format_gives_the_texts_as_they_are_written(tmp_path, name, streaming):
    write(tmp_path / "o.txt", "a decoy for file names that look like patterns\nanother\n")
    corpus = load_corpus(write(tmp_path / name, FILES[name]), streaming=streaming)
    assert isinstance(corpus, IterableDatasetDict if streaming else DatasetDict)
    assert set(corpus) == {"train", "validation"}
    assert texts(corpus) == ["007", "NA", "x, y"]
    assert all(set(row) == {"text"} for row in corpus["train"])


def test_parquet_and_text_column(tmp_path):
    pandas.DataFrame({"body": ["a", "b", "c"], "text": [1, 2, 3]}).to_parquet(tmp_path / "table.parquet")
    assert texts(load_corpus(tmp_path / "table.parquet", text_column="body")) == ["a", "b", "c"]


def test_a_txt_is_split_at_line_feeds_only(tmp_path):
    lines = ["one\u2028line", "two\x85lines", "three\x0c\x1clines"]
    assert texts(load_corpus(write(tmp_path / "a.txt", "\n".join(lines)))) == sorted(lines)


@pytest.mark.parametrize("streaming", [False, True])
def test_blank_texts_are_dropped(tmp_path, caplog, streaming):
    path = write(tmp_path / "a.jsonl", '{"text": "a"}\n{"text": null}\n{"text": " \\n"}\n{"text": ""}\n{"text": "b"}\n')
    assert texts(load_corpus(path, streaming=streaming)) == ["a", "b"]
    assert ("3 blank texts were dropped" in caplog.text) is not streaming


def test_a_validation_file_is_the_validation_split(tmp_path):
    corpus = load_corpus(write(tmp_path / "a.txt", "a\n"), write(tmp_path / "b.csv", "text\nb\n"))
    assert (corpus["train"]["text"][:], corpus["validation"]["text"][:]) == (["a"], ["b"])


def test_the_automatic_split_is_seeded_complete_and_sized(tmp_path):
    path = write(tmp_path / "a.txt", "\n".join(LINES))
    first, again, other = (load_corpus(path, validation_split=0.1, seed=seed) for seed in (0, 0, 1))
    assert texts(first) == sorted(LINES)
    assert len(first["validation"]) == 20
    assert first["validation"]["text"][:] == again["validation"]["text"][:] != other["validation"]["text"][:]
    assert len(load_corpus(path, validation_split=0.001)["validation"]) == 2


def test_a_stream_is_split_without_overlap(tmp_path):
    corpus = load_corpus(write(tmp_path / "a.txt", "\n".join(LINES)), validation_split=0.1, streaming=True)
    assert texts(corpus) == sorted(LINES)
    assert sum(1 for _ in corpus["validation"]) == 20


@pytest.mark.parametrize("streaming", [False, True])
def test_sample_limits(tmp_path, streaming):
    path = write(tmp_path / "a.txt", "\n".join(LINES))
    corpus = load_corpus(path, streaming=streaming, max_train_samples=5, max_validation_samples=2)
    assert [sum(1 for _ in corpus[name]) for name in ("train", "validation")] == [5, 2]
    assert len(texts(load_corpus(path, max_train_samples=10_000))) == 200


@pytest.mark.parametrize("streaming", [False, True])
def test_texts_in_memory_are_what_a_file_of_them_is(tmp_path, streaming):
    options = {"streaming": streaming, "validation_split": 0.1}
    wanted = load_corpus(write(tmp_path / "a.txt", "\n".join(LINES)), **options)
    for given in (LINES, tuple(LINES), Dataset.from_dict({"n": range(len(LINES)), "text": LINES})):
        corpus = load_corpus(texts=given, **options)
        assert [[*corpus[name]] for name in ("train", "validation")] == [[*wanted[name]] for name in wanted]
    splits = DatasetDict(train=Dataset.from_dict({"text": ["a", " "]}), validation=Dataset.from_dict({"text": ["b"]}))
    corpus = load_corpus(texts=splits, streaming=streaming)
    assert [[*corpus[name]] for name in ("train", "validation")] == [[{"text": "a"}], [{"text": "b"}]]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"texts": ["a"], "train_file": "a.txt"}, "Both texts and the train_file 'a.txt'"),
        ({"texts": ["a"], "dataset_name": "a"}, "Both texts and the dataset_name 'a'"),
        ({"texts": ["a", 7]}, "Text 1 is of type int"),
        ({"texts": []}, "holds no text"),
        ({"texts": DatasetDict(test=Dataset.from_dict({"text": ["a"]}))}, "no split 'train' but test"),
        ({"texts": Dataset.from_dict({"body": ["a"]})}, "no column 'text': give --text_column one of body"),
        ({"texts": ["a", "b"], "target_column": "to"}, "no column 'to'"),
    ],
)
def test_texts_in_memory_that_cannot_be_used(arguments, told):
    with pytest.raises(InputError, match=told):
        load_corpus(**arguments)


def test_a_dataset_by_name(tmp_path):
    write(tmp_path / "train.jsonl", '{"body": "a"}\n{"body": "b"}\n')
    corpus = load_corpus(dataset_name=str(tmp_path), text_column="body")
    assert texts(corpus) == ["a", "b"]
    write(tmp_path / "validation.jsonl", '{"body": "c"}\n')
    assert load_corpus(dataset_name=str(tmp_path), text_column="body")["validation"]["text"][:] == ["c"]


PAIRS = [("007", "James Bond"), ("NA", "x, y"), ("a b", "c")]
PAIR_FILES = {
    "table.csv": 'from,to\n007,James Bond\nNA,"x, y"\n,nothing\na b,c\nnothing, \n',
    "table.tsv": "to\tn\tfrom\nJames Bond\t1\t007\nx, y\t2\tNA\nnothing\t3\t\nc\t4\ta b\n \t5\tnothing\n",
    "rows.jsonl": '{"from": "007", "to": "James Bond"}\n{"from": "NA", "to": "x, y"}\n{"to": "nothing"}\n'
    '{"from": "a b", "to": "c"}\n{"from": "nothing", "to": null}\n',
}


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("name", PAIR_FILES)
def test_pairs_are_read_from_every_table_and_gaps_on_either_side_dropped(tmp_path, caplog, name, streaming):
    path = write(tmp_path / name, PAIR_FILES[name])
    corpus = load_corpus(path, text_column="from", target_column="to", streaming=streaming)
    rows = [row for split in corpus.values() for row in split]
    assert all(list(row) == ["text", "target"] for row in rows)
    assert sorted((row["text"], row["target"]) for row in rows) == sorted(PAIRS)
    assert ("2 pairs with a gap were dropped" in caplog.text) is not streaming


def test_pairs_of_a_parquet_a_named_dataset_and_one_file_in_order(tmp_path):
    pandas.DataFrame({"to": ["x", "y"], "n": [1, 2], "from": ["a", "b"]}).to_parquet(tmp_path / "train.parquet")
    columns = {"text_column": "from", "target_column": "to"}
    wanted = [{"text": "a", "target": "x"}, {"text": "b", "target": "y"}]
    assert load_texts(str(tmp_path / "train.parquet"), "from", "to").to_list() == wanted
    for corpus in (
        load_corpus(str(tmp_path / "train.parquet"), **columns),
        load_corpus(dataset_name=str(tmp_path), **columns),
    ):
        rows = [row for split in corpus.values() for row in split]
        assert sorted(rows, key=lambda row: row["text"]) == wanted


def test_targets_that_are_not_there(tmp_path):
    table = write(tmp_path / "a.csv", "from,to\na,b\nc,d\n")
    for arguments, message in [
        ({"train_file": table, "target_column": "tp", "text_column": "from"}, "--target_column one of from, to"),
        ({"train_file": table, "target_column": "to", "text_column": "form"}, "--text_column one of from, to"),
        ({"train_file": table, "target_column": "to", "text_column": "to"}, "both 'to'"),
        ({"train_file": write(tmp_path / "a.txt", "a\nb\n"), "target_column": "to"}, "no targets: give csv"),
        ({"target_column": "to"}, "embedded corpus has no targets"),
    ]:
        with pytest.raises(InputError, match=message) as error:
            load_corpus(**arguments)
        assert "\n" not in str(error.value)


BAD_FILES = {
    "empty.txt": ("", "empty"),
    "blank.txt": (" \n\n", "holds no text"),
    "header.csv": ("text\n", "holds no text"),
    "one.txt": ("only\n", "one text and cannot be split.*--validation_file"),
    "binary.txt": (b"a\0b\n", "binary"),
    "latin.txt": (b"caf\xe9\nau lait\n", "not UTF-8.*iconv"),
    "cut.txt": (b"a\nb\xe2\x82", "not UTF-8"),
    "letter.doc": ("a\nb\n", "unknown ending.*txt, .csv"),
    "column.csv": ("id,body\n1,a\n2,b\n", "no column 'text'.*id, body"),
    "column.jsonl": ('{"body": "a"}\n{"body": "b"}\n', "no column 'text'.*body"),
    "broken.jsonl": ('{"text": "a"\n{{{\n', "line 1 could not be read as JSON"),
    "commas.csv": ("text\nhello, you\nand you\n", "line 2 has 2 cells and the header 1"),
    "ragged.csv": ("text\nyou\nhello, you\n", "line 3 has 2 cells and the header 1"),
    "quote.csv": ('text\n"never closed\n', "line 2 opens a quote that is never closed"),
    "fake.parquet": ("PAR1 but no more", "could not be read"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files_get_one_sentence(tmp_path, name):
    content, message = BAD_FILES[name]
    with pytest.raises(InputError, match=message) as caught:
        load_corpus(write(tmp_path / name, content))
    assert name in str(caught.value) and "\n" not in str(caught.value)


def test_a_stream_too_short_to_split_or_of_the_wrong_column(tmp_path):
    with pytest.raises(InputError, match="one text and cannot be split"):
        load_corpus(write(tmp_path / "a.txt", "only\n"), streaming=True)
    with pytest.raises(InputError, match="no column 'text'.*body"):
        load_corpus(write(tmp_path / "a.jsonl", '{"body": "a"}\n'), streaming=True)


def test_wrong_column_of_a_parquet_names_the_columns(tmp_path):
    pandas.DataFrame({"body": ["a", "b"], "n": [1, 2]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(InputError, match="no column 'text'.*body, n"):
        load_corpus(tmp_path / "a.parquet")


def test_bad_arguments(tmp_path):
    path = write(tmp_path / "a.txt", "a\nb\n")
    for arguments, message in [
        ({"train_file": str(tmp_path / "none.txt")}, "no file .*none.txt"),
        ({"train_file": []}, "list of files is empty"),
        ({"train_file": path, "dataset_name": "x"}, "keep one"),
        ({"validation_file": path}, "--train_file"),
        ({"train_file": path, "validation_split": 1.5}, "between 0 and 1"),
        ({"train_file": path, "max_train_samples": 0}, "1 or more"),
        ({"dataset_name": str(tmp_path / "none")}, "could not be loaded"),
    ]:
        with pytest.raises(InputError, match=message):
            load_corpus(**arguments)


def test_a_dataset_without_a_train_split(tmp_path):
    write(tmp_path / "test.jsonl", '{"text": "a"}\n')
    with pytest.raises(InputError, match="no split 'train' but test"):
        load_corpus(dataset_name=str(tmp_path))


def test_chitchat_is_unique_sentences_split_by_conversation(chitchat):
    train, validation = chitchat["train"]["text"][:], chitchat["validation"]["text"][:]
    sentences = train + validation
    assert len(set(sentences)) == len(sentences)
    assert abs(len(sentences) - 196_445) < 200
    words = [len(sentence.split()) for sentence in sentences]
    assert min(words) == 5 and max(words) == 30 and abs(sum(words) / len(words) - 10.5) < 0.1
    assert 2_000 < len(validation) < 4_000
    assert chitchat["train"].cache_files, "memory-mapped, so that what is computed from it is cached too"
    assert load_corpus(max_train_samples=3)["train"]["text"][:] == train[:3]
    assert [row["text"] for row in load_corpus(streaming=True)["validation"].take(3)] == validation[:3]


def test_chitchat_that_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "chitchat_dataset", None)
    with pytest.raises(InputError, match=r"textvae\[recipes\].*--train_file"):
        load_chitchat()


@pytest.fixture
def tokenizer():
    return train_word_tokenizer(["a b c d e f g"])


def test_tokenizing_keeps_the_end_of_a_cut_text(tokenizer, caplog):
    dataset = Dataset.from_dict({"text": ["a b", "a b c d e", "c d e f g"]})
    with caplog.at_level(logging.INFO):
        tokenized = tokenize_corpus(dataset, TokenizerPair(tokenizer), max_length=4)
    assert tokenized["input_ids"][:] == [[4, 5, 3], [4, 5, 6, 3], [6, 7, 8, 3]]
    assert tokenized["length"][:] == [3, 4, 4]
    assert tokenized["text"][:] == dataset["text"][:]
    assert tokenized.column_names == ["text", "input_ids", "length"]
    assert caplog.text.count("2 of 3 texts were cut to 4 tokens") == 1


def test_a_stream_is_tokenized_alike(tokenizer):
    dataset = Dataset.from_dict({"text": ["a b", "a b c d e"]})
    stream = tokenize_corpus(dataset.to_iterable_dataset(), TokenizerPair(tokenizer), max_length=4)
    assert isinstance(stream, IterableDataset)
    assert list(stream) == tokenize_corpus(dataset, TokenizerPair(tokenizer), max_length=4).to_list()


def test_eos_is_added_where_the_tokenizer_does_not(tokenizer):
    tokenizer.backend_tokenizer.post_processor = None
    dataset = Dataset.from_dict({"text": ["a b", "a b c d"]})
    tokenized = tokenize_corpus(dataset, TokenizerPair(tokenizer), max_length=3)
    assert tokenized["input_ids"][:] == [[4, 5, 3], [4, 5, 3]]


def marked(tokenizer):
    """The same, with `<s>` in front of each text."""
    tokenizer = copy.deepcopy(tokenizer)
    ends = [("<s>", 2), ("</s>", 3)]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="<s> $A </s>", special_tokens=ends)
    return tokenizer


@pytest.mark.parametrize("streaming", [False, True])
def test_targets_are_as_the_decoder_writes_them(tokenizer, caplog, streaming):
    dataset = Dataset.from_dict({"text": ["a b", "a", "c d e f"], "target": ["b", "c d e f g", "g"]})
    for each in (tokenizer, marked(tokenizer)):
        with caplog.at_level(logging.WARNING):
            source = dataset.to_iterable_dataset() if streaming else dataset
            tokenized = tokenize_corpus(source, TokenizerPair(each), 5)
        rows = list(tokenized)
        start = [2] if each is not tokenizer else []
        assert [row["input_ids"] for row in rows] == [
            [*start, 4, 5, 3],
            [*start, 4, 3],
            [*start, 6, 7, 8, *([] if start else [9]), 3],
        ]
        # One token less of a text with something in front, so that the targets are cut where texts are.
        assert [row["target_ids"] for row in rows] == [[5, 3], [6, 7, 8, *([] if start else [9]), 3], [10, 3]]
        assert [row["length"] for row in rows] == [len(row["input_ids"]) for row in rows]
        assert set(rows[0]) == {"text", "target", "input_ids", "length", "target_ids"}
    said = ["1 of 3 texts were cut to 5 tokens", "2 of 3 texts were cut to 5 tokens"]
    assert [record.getMessage() for record in caplog.records] == ([] if streaming else said)


def test_two_tokenizers_read_and_write_their_own(tokenizer):
    other = train_word_tokenizer(["g f e d c b a"], vocab_size=3)  # whose three words are a, b and c
    dataset = Dataset.from_dict({"text": ["a g", "b"]})
    tokenized = tokenize_corpus(dataset, TokenizerPair(tokenizer, marked(other)), 9)
    assert tokenized["input_ids"][:] == [[2, 4, 1, 3], [2, 5, 3]]
    assert tokenized["target_ids"][:] == [[4, 10, 3], [5, 3]]
    same = tokenize_corpus(dataset, TokenizerPair(marked(tokenizer), marked(tokenizer)), 9)
    assert [[2, *ids] for ids in same["target_ids"]] == same["input_ids"][:]


def test_columns_of_another_kind_with_names_that_are_made_here_are_left_out(tokenizer):
    dataset = Dataset.from_dict({"text": ["a b"], "target_ids": [1], "label_id": ["x"], "label": ["up"]})
    tokenized = tokenize_corpus(dataset, TokenizerPair(tokenizer), 4)
    assert tokenized.column_names == ["text", "label", "input_ids", "length"]
    assert tokenize_corpus(dataset, TokenizerPair(tokenizer, tokenizer), 4)["target_ids"][:] == [[4, 5, 3]]
    assert tokenize_corpus(dataset, TokenizerPair(tokenizer), 4, ["down", "up"])["label_id"][:] == [1]


def test_a_target_that_is_no_text_is_refused(tokenizer):
    with pytest.raises(InputError, match="'target' holds no texts"):
        tokenize_corpus(Dataset.from_dict({"text": ["a"], "target": [1]}), TokenizerPair(tokenizer), 4)


def test_a_second_run_hits_the_cache(tokenizer, tmp_path):
    train = load_corpus(write(tmp_path / "a.txt", "\n".join(LINES)))["train"]
    first = tokenize_corpus(train, TokenizerPair(tokenizer), max_length=8)
    tokenizer(["a b c", "a"], padding=True, truncation=True, max_length=2)  # leaves its mark on a fast tokenizer
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    again = tokenize_corpus(train, TokenizerPair(tokenizer), max_length=8)
    other = tokenize_corpus(train, TokenizerPair(tokenizer), max_length=9)
    assert first.cache_files == again.cache_files != other.cache_files
    assert len(first.cache_files) == 1


def test_bad_tokenizing(tokenizer):
    dataset = Dataset.from_dict({"text": ["a"]})
    with pytest.raises(InputError, match="max_length is 1"):
        tokenize_corpus(dataset, TokenizerPair(tokenizer), max_length=1)
    tokenizer.eos_token = None
    with pytest.raises(InputError, match="eos_token"):
        tokenize_corpus(dataset, TokenizerPair(tokenizer), max_length=4)


def test_texts_of_very_different_lengths_take_no_more_memory_than_their_letters():
    """One long text must not widen the others, as in an array of fixed width."""
    texts = [*LINES * 20, "long " * 20_000]
    tokenizer = train_word_tokenizer(LINES)
    tracemalloc.start()
    tokenize_corpus(Dataset.from_dict({"text": texts}), TokenizerPair(tokenizer), 20)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * len(texts) * len(texts[-1]) / 50
