from itertools import islice

import numpy as np
import pytest
import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from torch.utils.data import DataLoader
from transformers import PreTrainedTokenizerFast

from textvae.data.noise import InputNoise
from textvae.data.padding import padded_batch
from textvae.data.tokenization import train_word_tokenizer
from textvae.data.tokenize import tokenize, tokenize_corpus
from textvae.data.tokenizer_pair import TokenizerPair
from textvae.data.training_batches import _TYPOS, BatchPlan, LengthGroupedBatches, StreamedBatches
from textvae.data.typos import add_typos
from textvae.data.unigram import train_tokenizer
from textvae.errors import InputError

PAD, UNK, BOS, EOS = range(4)
WORDS = [f"w{i:02}" for i in range(50)]
NOISE = InputNoise(drop=0.2, mask=0.2, substitute=0.2, shuffle=2, typos=0.3, word_dropout=0.3)


def make_texts(count, seed=0):
    """Unique texts whose lengths are spread like sentences'."""
    generator = np.random.default_rng(seed)
    lengths = np.clip(generator.gamma(4, 3, count).astype(int), 3, 40)
    return [" ".join(generator.choice(WORDS, length)) for length in lengths]


@pytest.fixture(scope="module")
def tokenizer():
    return train_word_tokenizer([" ".join(WORDS)])


@pytest.fixture(scope="module")
def dataset(tokenizer):
    return tokenize_corpus(Dataset.from_dict({"text": make_texts(203)}), TokenizerPair(tokenizer), max_length=64)


def plan(batch_size=16, **options):
    return BatchPlan(batch_size, latent_size=5, **options)


def batches(dataset, tokenizer, batch_size=16, encoder_tokenizer=None, **options):
    return LengthGroupedBatches(dataset, TokenizerPair(tokenizer, encoder_tokenizer), plan(batch_size, **options))


def clean_rows(item):
    return [tuple(row[row != -100].tolist()) for row in item["labels"]]


def same(first, second):
    arrays = [name for name in first if name != "num_texts"]
    return first["num_texts"] == second["num_texts"] and all(torch.equal(first[name], second[name]) for name in arrays)


def test_an_item_has_the_promised_shapes_and_shift(dataset, tokenizer):
    item = batches(dataset, tokenizer)[0]
    rows, width = item["input_ids"].shape
    assert item["num_texts"] == rows
    assert [tuple(dataset[i]["input_ids"]) for i in item["rows"].tolist()] == clean_rows(item)
    assert item["noise"].shape == (rows, 5) and item["noise"].dtype == torch.float32
    assert torch.equal(item["input_ids"] != PAD, item["attention_mask"] == 1)
    assert torch.equal(item["labels"], item["input_ids"].masked_fill(item["attention_mask"] == 0, -100))
    shifted = torch.cat([torch.full((rows, 1), BOS), item["labels"][:, :-1]], dim=1)
    inside = item["labels"] != -100
    assert torch.equal(item["decoder_input_ids"][inside], shifted[inside])
    assert (item["decoder_input_ids"][~inside] == PAD).all()
    assert {item[name].dtype for name in ("input_ids", "attention_mask", "labels", "decoder_input_ids")} == {
        torch.int64
    }


@pytest.mark.parametrize("num_processes", [1, 3])
def test_every_text_occurs_once_in_every_epoch(dataset, tokenizer, num_processes):
    expected = sorted(tuple(ids) for ids in dataset["input_ids"])
    parts = [batches(dataset, tokenizer, 5, num_processes=num_processes, process_index=p) for p in range(num_processes)]
    size = len(parts[0])
    assert size == parts[0].batches_per_epoch == -(-203 // (5 * num_processes))
    epochs = [
        [row for i in range(e * size, (e + 1) * size) for part in parts for row in clean_rows(part[i])] for e in (0, 1)
    ]
    assert sorted(epochs[0]) == sorted(epochs[1]) == expected
    assert epochs[0] != epochs[1]


def test_items_depend_on_seed_and_index_only(dataset, tokenizer):
    first, again = (batches(dataset, tokenizer, noise=NOISE, seed=3) for _ in range(2))
    indices = [0, 40, 7, 13, 12, 0]
    forward = {index: first[index] for index in sorted(indices)}
    assert all(same(again[index], forward[index]) for index in indices)
    assert not same(batches(dataset, tokenizer, noise=NOISE, seed=4)[0], forward[0])


def test_a_loader_with_workers_reads_the_same(dataset, tokenizer):
    data = batches(dataset, tokenizer, noise=NOISE)
    loader = DataLoader(data, batch_size=None, sampler=range(10, 16), num_workers=2)
    assert all(same(item, data[index]) for index, item in zip(range(10, 16), loader, strict=True))


@pytest.mark.parametrize("streaming", [False, True])
def test_two_processes_see_what_one_sees(dataset, tokenizer, streaming):
    source = dataset.to_iterable_dataset() if streaming else dataset
    kind = StreamedBatches if streaming else LengthGroupedBatches
    pair = TokenizerPair(tokenizer)
    one = kind(source, pair, plan(16, noise=NOISE))
    two = [kind(source, pair, plan(8, noise=NOISE, num_processes=2, process_index=p)) for p in (0, 1)]
    for whole, even, odd in islice(zip(one, *two, strict=False), 30):
        assert whole["num_texts"] == even["num_texts"] == odd["num_texts"]
        for name in ("input_ids", "attention_mask", "labels", "decoder_input_ids", "noise"):
            assert torch.equal(whole[name][0::2], even[name]) and torch.equal(whole[name][1::2], odd[name])


def test_a_last_batch_too_small_for_the_processes_is_left_out(tokenizer):
    dataset = tokenize_corpus(Dataset.from_dict({"text": make_texts(33)}), TokenizerPair(tokenizer), 64)
    data = batches(dataset, tokenizer, 8, num_processes=2)
    assert len(data) == 2
    assert [data[i]["num_texts"] for i in range(4)] == [16] * 4
    assert len(batches(dataset, tokenizer, 8)) == 5


def test_a_small_corpus_is_one_batch_and_a_smaller_one_an_error(tokenizer):
    dataset = tokenize_corpus(Dataset.from_dict({"text": make_texts(3)}), TokenizerPair(tokenizer), 64)
    assert len(batches(dataset, tokenizer)) == 1
    assert batches(dataset, tokenizer, num_processes=3, process_index=2)[5]["labels"].shape[0] == 1
    with pytest.raises(InputError, match="3 texts are too few for 4 processes"):
        batches(dataset, tokenizer, num_processes=4)
    with pytest.raises(InputError, match="too few texts for 4 processes"):
        next(iter(StreamedBatches(dataset.to_iterable_dataset(), TokenizerPair(tokenizer), plan(2, num_processes=4))))


@pytest.mark.parametrize("batch_size", [32, 128])
def test_padding_is_at_most_five_percent(tokenizer, batch_size):
    dataset = tokenize_corpus(Dataset.from_dict({"text": make_texts(20_000)}), TokenizerPair(tokenizer), 64)
    data = batches(dataset, tokenizer, batch_size)
    assert data.padding_share() <= 0.05 and data.padding_share(1) <= 0.05
    items = [data[index] for index in range(len(data))]
    real, positions = (sum(f(item["attention_mask"]) for item in items) for f in (torch.sum, torch.numel))
    assert data.padding_share() == pytest.approx(1 - real.item() / positions)
    assert data.lengths.sum() == real


def noisy(dataset, tokenizer, **noise):
    """Clean rows and what the encoder reads in their place, over one epoch."""
    data = batches(dataset, tokenizer, noise=InputNoise(**noise))
    pairs = []
    for item in (data[index] for index in range(len(data))):
        lengths = item["attention_mask"].sum(1).tolist()
        assert all((row[n:] == PAD).all() for row, n in zip(item["input_ids"], lengths, strict=True))
        read = [row[:n].tolist() for row, n in zip(item["input_ids"], lengths, strict=True)]
        pairs += zip(clean_rows(item), read, strict=True)
    assert sorted(clean for clean, _ in pairs) == sorted(tuple(ids) for ids in dataset["input_ids"])
    assert all(read[-1] == EOS and read.count(EOS) == 1 for _, read in pairs)
    return pairs


def share(flags):
    return sum(flags) / len(flags)


def test_dropped_tokens_leave_the_rest_in_order(dataset, tokenizer):
    pairs = noisy(dataset, tokenizer, drop=0.3)
    for clean, read in pairs:
        rest = iter(clean)
        assert all(token in rest for token in read)
    assert 1 - sum(len(r) - 1 for _, r in pairs) / sum(len(c) - 1 for c, _ in pairs) == pytest.approx(0.3, abs=0.05)


def test_dropping_everything_leaves_eos(dataset, tokenizer):
    assert all(read == [EOS] for _, read in noisy(dataset, tokenizer, drop=1.0))


def test_masked_tokens_are_unknown(dataset, tokenizer):
    flags = [r == UNK for clean, read in noisy(dataset, tokenizer, mask=0.3) for r in read[:-1]]
    assert share(flags) == pytest.approx(0.3, abs=0.05)


def test_substituted_tokens_are_ordinary(dataset, tokenizer):
    pairs = noisy(dataset, tokenizer, substitute=0.3)
    flags = [c != r for clean, read in pairs for c, r in zip(clean[:-1], read[:-1], strict=True)]
    assert share(flags) == pytest.approx(0.3, abs=0.05)
    assert not {PAD, BOS, EOS} & {r for _, read in pairs for r in read[:-1]}


def test_typing_errors_are_in_what_is_read_and_never_in_the_targets(dataset, tokenizer):
    pairs = noisy(dataset, tokenizer, typos=0.3)  # to a word tokenizer, a word with an error is unknown
    flags = [r == UNK for clean, read in pairs for r in read[:-1]]
    assert share(flags) == pytest.approx(0.3, abs=0.05)
    assert all(r in (c, UNK) for clean, read in pairs for c, r in zip(clean, read, strict=True))


def test_texts_with_typing_errors_are_tokenized_anew():
    tokenizer = train_tokenizer(make_texts(50), 400)
    tokenizer.model_max_length = 20
    dataset = tokenize_corpus(Dataset.from_dict({"text": make_texts(50)}), TokenizerPair(tokenizer), 20)
    item = batches(dataset, tokenizer, 50, noise=InputNoise(typos=0.5))[0]
    texts = [dataset[row]["text"] for row in item["rows"].tolist()]
    noisy = add_typos(texts, 0.5, plan(50).generator(_TYPOS, 0))
    expected = tokenize({"text": noisy}, TokenizerPair(tokenizer), 20)["input_ids"]
    assert [row[: len(ids)].tolist() for row, ids in zip(item["input_ids"], expected, strict=True)] == expected
    assert item["attention_mask"].sum(1).tolist() == [len(ids) for ids in expected]


@pytest.mark.parametrize("distance", [1, 3])
def test_shuffled_tokens_move_at_most_so_far(tokenizer, distance):
    orders = [np.random.default_rng(i).permutation(WORDS)[: 5 + i % 20] for i in range(100)]
    texts = Dataset.from_dict({"text": [" ".join(order) for order in orders]})
    unique = tokenize_corpus(texts, TokenizerPair(tokenizer), 64)
    moves = [
        i - read.index(c) for clean, read in noisy(unique, tokenizer, shuffle=distance) for i, c in enumerate(clean)
    ]
    assert max(moves) == distance and min(moves) == -distance


def test_word_dropout_touches_decoder_inputs_only(dataset, tokenizer):
    clean, noised = batches(dataset, tokenizer), batches(dataset, tokenizer, noise=InputNoise(word_dropout=0.4))
    flags = []
    for index in range(len(clean)):
        before, after = clean[index], noised[index]
        assert all(torch.equal(before[n], after[n]) for n in ("input_ids", "attention_mask", "labels", "noise"))
        assert (after["decoder_input_ids"][:, 0] == BOS).all()
        words = (before["decoder_input_ids"] != PAD) & (before["decoder_input_ids"] != BOS)
        changed = before["decoder_input_ids"] != after["decoder_input_ids"]
        assert not changed[~words].any() and (after["decoder_input_ids"][changed] == UNK).all()
        flags += changed[words].tolist()
    assert share(flags) == pytest.approx(0.4, abs=0.05)


def test_the_mask_token_is_preferred_for_masking():
    tokenizer = train_tokenizer(make_texts(20), 400)
    dataset = tokenize_corpus(Dataset.from_dict({"text": make_texts(20)}), TokenizerPair(tokenizer), 64)
    item = batches(dataset, tokenizer, noise=InputNoise(mask=1.0, word_dropout=1.0))[0]
    words = (item["labels"] != -100) & (item["labels"] != EOS)
    assert (item["input_ids"][words] == tokenizer.mask_token_id).all()
    assert (item["decoder_input_ids"][:, 1:][words[:, :-1]] == tokenizer.mask_token_id).all()


def test_a_leading_token_is_read_but_not_written():
    tokenizer = train_word_tokenizer([" ".join(WORDS)])
    specials = [("<s>", BOS), ("</s>", EOS)]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="<s> $A </s>", special_tokens=specials)
    dataset = tokenize_corpus(Dataset.from_dict({"text": make_texts(20)}), TokenizerPair(tokenizer), 64)
    item = batches(dataset, tokenizer, noise=InputNoise(drop=1.0))[0]
    assert item["input_ids"].tolist() == [[BOS, EOS]] * len(item["labels"])
    assert not (item["labels"] == BOS).any() and (item["labels"] == EOS).sum() == len(item["labels"])
    assert (item["decoder_input_ids"][:, 0] == BOS).all() and not (item["decoder_input_ids"][:, 1:] == BOS).any()


def test_without_bos_decoding_starts_from_eos():
    tokenizer = train_word_tokenizer([" ".join(WORDS)])
    tokenizer.bos_token = None
    dataset = tokenize_corpus(Dataset.from_dict({"text": make_texts(20)}), TokenizerPair(tokenizer), 64)
    assert (batches(dataset, tokenizer)[0]["decoder_input_ids"][:, 0] == EOS).all()


def test_selected_rows_of_a_dataset_are_read(dataset, tokenizer):
    rows = [100, 5, 7]
    item = batches(dataset.select(rows), tokenizer)[0]
    assert sorted(clean_rows(item)) == sorted(tuple(dataset[row]["input_ids"]) for row in rows)


@pytest.mark.parametrize(
    "bad", [{"drop": -0.1}, {"mask": 1.1}, {"substitute": 2}, {"word_dropout": -1}, {"shuffle": -1}, {"typos": 1.1}]
)
def test_bad_noise(bad):
    with pytest.raises(InputError, match=next(iter(bad))):
        InputNoise(**bad)


def test_bad_batches(dataset, tokenizer):
    with pytest.raises(InputError, match="batch size is 0"):
        batches(dataset, tokenizer, 0)


def test_masking_needs_a_token_to_mask_with(dataset):
    backend = Tokenizer(models.WordLevel({"<pad>": 0, "</s>": 1, "a": 2}, unk_token="a"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", eos_token="</s>")
    assert len(batches(dataset, tokenizer, noise=InputNoise(drop=0.1)))
    for noise in (InputNoise(mask=0.1), InputNoise(word_dropout=0.1)):
        with pytest.raises(InputError, match="no mask and no unknown token"):
            batches(dataset, tokenizer, noise=noise)


def test_padded_batch():
    ids, mask = padded_batch([[5, 6, 7], [8], []], pad_id=9)
    assert ids.tolist() == [[5, 6, 7], [8, 9, 9], [9, 9, 9]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0], [0, 0, 0]]
    assert padded_batch([], pad_id=0)[0].shape == (0, 0)


def stream(dataset, tokenizer, **options):
    return StreamedBatches(dataset.to_iterable_dataset(), TokenizerPair(tokenizer), plan(16, noise=NOISE), **options)


def test_a_stream_gives_every_text_once_per_epoch(dataset, tokenizer):
    per_epoch = -(-203 // 16)
    items = list(islice(stream(dataset, tokenizer), 2 * per_epoch))
    epochs = [[row for item in items[i : i + per_epoch] for row in clean_rows(item)] for i in (0, per_epoch)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(tuple(ids) for ids in dataset["input_ids"])
    assert epochs[0] != epochs[1]


def test_a_stream_resumes_where_it_stopped(dataset, tokenizer):
    items = list(islice(stream(dataset, tokenizer), 40))
    resumed = islice(stream(dataset, tokenizer, start_index=25), 15)
    assert all(same(item, expected) for item, expected in zip(resumed, items[25:], strict=True))


def test_a_stream_is_read_by_one_worker(dataset, tokenizer):
    data = stream(dataset, tokenizer)
    items = islice(DataLoader(data, batch_size=None, num_workers=1), 5)
    assert all(same(item, expected) for item, expected in zip(items, data, strict=False))
    refused = iter(DataLoader(data, batch_size=None, num_workers=2))
    with pytest.raises(InputError, match="set the number of workers to 1") as error:
        next(refused)
    error.value.__traceback__ = None
    del refused, error  # in this order the workers end at once; the garbage collector would wait 10 seconds for them


# what is written is not what is read


@pytest.fixture(scope="module")
def pairs(tokenizer):
    """Unique texts, and other unique texts to be written in their place."""
    columns = {"text": make_texts(203), "target": make_texts(203, seed=1)}
    return tokenize_corpus(Dataset.from_dict(columns), TokenizerPair(tokenizer), max_length=64)


def rows_of(item):
    lengths = item["attention_mask"].sum(1).tolist()
    read = [tuple(row[:n].tolist()) for row, n in zip(item["input_ids"], lengths, strict=True)]
    return list(zip(read, clean_rows(item), strict=True))


@pytest.mark.parametrize("streaming", [False, True])
def test_each_text_is_read_with_its_own_target(pairs, tokenizer, streaming):
    source = pairs.to_iterable_dataset() if streaming else pairs
    data = (StreamedBatches if streaming else LengthGroupedBatches)(source, TokenizerPair(tokenizer), plan(16))
    items = list(islice(data, 13)) if streaming else [data[index] for index in range(13)]
    expected = [tuple(map(tuple, pair)) for pair in zip(pairs["input_ids"], pairs["target_ids"], strict=True)]
    assert sorted(row for item in items for row in rows_of(item)) == sorted(expected)
    for item in items:
        rows, width = item["labels"].shape
        assert width == (item["labels"] != -100).sum(1).max() and item["input_ids"].shape[1] != 0
        shifted = torch.cat([torch.full((rows, 1), BOS), item["labels"][:, :-1]], dim=1)
        inside = item["labels"] != -100
        assert torch.equal(item["decoder_input_ids"][inside], shifted[inside])
        assert (item["decoder_input_ids"][~inside] == PAD).all()


def test_targets_equal_to_the_texts_change_nothing(dataset, tokenizer):
    paired = dataset.add_column("target_ids", dataset["input_ids"][:])
    plain, other = (batches(each, tokenizer, noise=NOISE) for each in (dataset, paired))
    assert all(same(plain[index], other[index]) for index in range(13))
    assert all(map(same, islice(stream(dataset, tokenizer), 13), islice(stream(paired, tokenizer), 13)))


@pytest.mark.parametrize("streaming", [False, True])
def test_two_processes_see_the_pairs_that_one_sees(pairs, tokenizer, streaming):
    test_two_processes_see_what_one_sees(pairs, tokenizer, streaming)


def test_pairs_depend_on_seed_and_index_only(pairs, tokenizer):
    test_items_depend_on_seed_and_index_only(pairs, tokenizer)
    test_a_stream_resumes_where_it_stopped(pairs, tokenizer)


def test_pairs_are_grouped_by_their_longer_side(tokenizer):
    lengths = [(3, 3 + 30 * (i % 2)) if i % 3 else (33, 5) for i in range(400)]
    columns = {
        name: [" ".join(["w01"] * length[side]) for length in lengths] for side, name in enumerate(("text", "target"))
    }
    dataset = tokenize_corpus(Dataset.from_dict(columns), TokenizerPair(tokenizer), max_length=64)
    data = batches(dataset, tokenizer, 16)
    assert data.lengths.tolist() == [max(pair) + 1 for pair in lengths]
    items = [data[index] for index in range(len(data))]
    assert sum(max(item["input_ids"].shape[1], item["labels"].shape[1]) == 4 for item in items) >= 7
    real = sum(item["attention_mask"].sum() + (item["labels"] != -100).sum() for item in items)
    positions = sum(item["attention_mask"].numel() + item["labels"].numel() for item in items)
    assert data.padding_share() == pytest.approx(1 - real.item() / positions)


def test_each_side_has_the_special_tokens_of_its_own_tokenizer(tokenizer):
    other = train_tokenizer(make_texts(20), 400)  # whose mask is a token of its own, as that of words is not
    backend = Tokenizer(models.WordLevel({"w": 0, "x": 1, "<end>": 2, "<gap>": 3, "<pad>": 4}, unk_token="w"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = {"pad_token": "<pad>", "eos_token": "<end>", "mask_token": "<gap>"}
    writer = PreTrainedTokenizerFast(tokenizer_object=backend, **special)
    dataset = Dataset.from_dict({"text": make_texts(20)})
    tokenized = tokenize_corpus(dataset, TokenizerPair(writer, other), 64)
    item = batches(tokenized, writer, noise=InputNoise(mask=1.0, word_dropout=1.0), encoder_tokenizer=other)[0]
    words = (item["labels"] != -100) & (item["labels"] != 2)
    assert (item["decoder_input_ids"][:, 0] == 2).all() and (item["decoder_input_ids"][:, 1:][words[:, :-1]] == 3).all()
    assert (item["decoder_input_ids"][item["labels"] == -100] == 4).all()
    read = item["input_ids"][item["attention_mask"] == 1]
    assert set(read.tolist()) == {other.mask_token_id, other.eos_token_id}
    assert (item["input_ids"][item["attention_mask"] == 0] == other.pad_token_id).all()
    writer.mask_token = None
    batches(tokenized, writer, noise=InputNoise(mask=0.1), encoder_tokenizer=other)
    with pytest.raises(InputError, match="set word_dropout to 0"):
        batches(tokenized, writer, noise=InputNoise(word_dropout=0.1), encoder_tokenizer=other)


def test_two_tokenizers_need_targets(dataset, tokenizer):
    with pytest.raises(InputError, match="no column 'target_ids'"):
        batches(dataset, tokenizer, encoder_tokenizer=tokenizer)
    with pytest.raises(InputError, match="no column 'target_ids'"):
        StreamedBatches(dataset.to_iterable_dataset(), TokenizerPair(tokenizer, tokenizer), plan(2))


def test_an_end_that_is_called_unknown_too_is_spared():
    backend = Tokenizer(models.WordLevel({"<end>": 0, **{word: i for i, word in enumerate([*WORDS, "a"], 1)}}))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    one_for_all = dict.fromkeys(("bos_token", "eos_token", "unk_token", "pad_token"), "<end>")  # as GPT-2's
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, **one_for_all)
    dataset = tokenize_corpus(Dataset.from_dict({"text": make_texts(20)}), TokenizerPair(tokenizer), 64)
    item = batches(dataset, tokenizer, noise=InputNoise(drop=1.0))[0]
    assert item["input_ids"].tolist() == [[0]] * len(item["labels"]) and (item["attention_mask"] == 1).all()
    assert (item["labels"] == 0).sum() == len(item["labels"]), "the end is written, though it pads as well"
