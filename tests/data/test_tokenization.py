import random
import re
import struct
import unicodedata

import pytest
from sentencepiece import SentencePieceProcessor
from tiny_runs import save_decoder
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from textvae.data.chitchat import load_chitchat
from textvae.data.coverage import count_unknown, coverage, coverage_sentence, unknown_sentence
from textvae.data.extend_tokenizer import kind_of
from textvae.data.normalization import normalization_of, normalize
from textvae.data.tokenization import load_tokenizer, open_tokenizer, train_word_tokenizer
from textvae.data.unigram import scored_pieces, train_sentencepiece, train_tokenizer, unigram_tokenizer
from textvae.errors import InputError

ODD_TEXTS = [
    "",
    "   ",
    "two  spaces\tand\na tab ",
    "<s>hello</s> <pad><unk> <mask> a<s>b <0x41><0xE2>",
    "▁under▁ ▅ ▁",
    "👩‍👩‍👧‍👦 🏳️‍🌈 sure 🙂🙂",
    "مرحبا بالعالم",
    "你好，世界。こんにちは",
    "ﷺ ´ ﬁne ① Ⅳ",
    "a\x00b\x01\x7f\u200b\x85c\u2028d\x1c",
    "naïve café — “quoted”…",
    "zzzzqqqqxxxx" * 20,
    "    if x:  # four spaces\n\treturn x² + ½\r\n",
    "ทำน้ำ e\u0301té \xa0 ，．",
]


@pytest.fixture(scope="module")
def corpus():
    texts = load_chitchat()["train"]["text"][:30_000]
    return texts[:20_000], texts[20_000:]


@pytest.fixture(scope="module", params=["nfc", "nfkc", "none"])
def how(request):
    return request.param


@pytest.fixture(scope="module")
def processor(corpus, how):
    return train_sentencepiece([*corpus[0], "    x\n    y"], 4000, how)


@pytest.fixture(scope="module")
def tokenizer(processor, how):
    return unigram_tokenizer(scored_pieces(processor, how), how)


def random_texts(count):
    generator = random.Random(0)
    ranges = [
        (0x20, 0x7F),
        (0, 0x300),
        (0x600, 0x700),
        (0x4E00, 0x9000),
        (0x1F300, 0x1F700),
        (0x2000, 0x2100),
        (0, 0xD800),
    ]
    return [
        "".join(chr(generator.randrange(*generator.choice(ranges))) for _ in range(generator.randrange(30)))
        for _ in range(count)
    ]


def round_scores(model: bytes) -> bytes:
    """The serialised model with the score of every piece rounded to 1/256 nat.

    Sums of such scores are exact in float32 (SentencePiece) and in float64 (`tokenizers`), so that the two agree on
    which of two equally good segmentations comes first ("y yyy" or "yyy y").
    """
    rounded, position = bytearray(model), 0
    while rounded[position] == 0x0A:  # the pieces come first, each: 0x0A, length, 0x0A, length, piece, 0x15, float32
        size, start = varint(rounded, position + 1)
        name_size, name = varint(rounded, start + 1)
        place = name + name_size
        if rounded[place] == 0x15:
            (score,) = struct.unpack_from("<f", rounded, place + 1)
            struct.pack_into("<f", rounded, place + 1, round(score * 256) / 256)
        position = start + size
    return bytes(rounded)


def varint(data: bytes | bytearray, position: int) -> tuple[int, int]:
    """A protocol buffer's variable-length integer and the position after it."""
    value, shift = 0, 0
    while data[position] & 0x80:
        value |= (data[position] & 0x7F) << shift
        position, shift = position + 1, shift + 7
    return value | data[position] << shift, position + 1


def test_scores_are_rounded(processor):
    scores = [score for _, score in scored_pieces(processor)]
    assert all((256 * score).is_integer() for score in scores)
    rounded = SentencePieceProcessor(model_proto=round_scores(processor.serialized_model_proto()))
    assert scores == [score for _, score in scored_pieces(rounded)]
    assert scores[300:] == [rounded.get_score(i) for i in range(300, len(scores))]


def test_equals_sentencepiece_token_for_token(corpus, processor, tokenizer, how):
    processor = SentencePieceProcessor(model_proto=round_scores(processor.serialized_model_proto()))
    texts = [*corpus[1], *random_texts(500), *(text for text in ODD_TEXTS if "<0x" not in text)]
    if how != "nfkc":  # SentencePiece takes a "▁" for a space
        texts = [text for text in texts if "▁" not in text]
    assert len(texts) > 10_000
    expected = [[*processor.encode(normalize(text, how)), tokenizer.eos_token_id] for text in texts]
    assert tokenizer(texts)["input_ids"] == expected


@pytest.mark.parametrize("text", ODD_TEXTS)
def test_decoding_gives_the_normalised_text_back(tokenizer, text, how):
    assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == normalize(text, how)


def test_decoding_gives_any_text_back_and_nothing_is_unknown_or_special(tokenizer, how):
    for text in random_texts(1000):
        ids, normalised = tokenizer(text)["input_ids"], normalize(text, how)
        assert tokenizer.decode(ids, skip_special_tokens=True) == normalised == normalize(normalised, how)
        assert ids[-1] == tokenizer.eos_token_id and min(ids[:-1], default=5) >= 5


def test_normalizations_are_those_of_unicode_and_only_nfkc_changes_spaces():
    for text in ODD_TEXTS:
        assert normalize(text, "none") == text
        assert normalize(text, "nfc") == unicodedata.normalize("NFC", text)
        expected = unicodedata.normalize("NFKC", text).replace("▁", " ")
        spaces = "[ \\t-\\r\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]+"
        assert normalize(text, "nfkc") == re.sub(spaces, " ", expected).strip(" ")


def test_special_ids_and_end_of_text(tokenizer):
    assert tokenizer.convert_tokens_to_ids(["<pad>", "<unk>", "<s>", "</s>", "<mask>"]) == [0, 1, 2, 3, 4]
    specials = (tokenizer.pad_token_id, tokenizer.unk_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id)
    assert (*specials, tokenizer.mask_token_id) == (0, 1, 2, 3, 4)
    assert tokenizer("")["input_ids"] == [3]
    assert len(tokenizer) == 4000


def test_spelled_out_special_tokens_are_ordinary_text(tokenizer):
    ids = tokenizer("<s>a</s> <pad> <unk> <mask>")["input_ids"]
    assert min(ids[:-1]) > 4 and ids.count(3) == 1


def test_saved_and_opened_by_auto_tokenizer(tokenizer, corpus, how, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"tokenizer.json", "tokenizer_config.json"}
    texts = [*ODD_TEXTS, *corpus[1][:200]]
    for opened in (AutoTokenizer.from_pretrained(tmp_path), load_tokenizer(str(tmp_path))):
        ids = opened(texts)["input_ids"]
        assert ids == tokenizer(texts)["input_ids"]
        assert opened.batch_decode(ids, skip_special_tokens=True) == [normalize(text, how) for text in texts]
        assert normalization_of(opened) == how and kind_of(opened) == "sentencepiece"
        assert opened.special_tokens_map == tokenizer.special_tokens_map
        assert list(opened("a")) == ["input_ids", "attention_mask"]


def test_training_is_deterministic_and_samples_by_seed(corpus):
    texts = corpus[0][:2000]
    vocabularies = [train_tokenizer(iter(texts), 500, max_train_texts=400, seed=seed).get_vocab() for seed in (0, 0, 1)]
    assert vocabularies[0] == vocabularies[1] != vocabularies[2]


@pytest.mark.parametrize("texts", [["a"], ["x" * 10_000], ["你好世界"] * 3, ["<s>a</s> <0x41>"] * 9, ["▅ a\x00b", " "]])
def test_a_small_corpus_gives_a_smaller_vocabulary(texts):
    tokenizer = train_tokenizer(texts, 8000)
    assert 261 < len(tokenizer) < 400
    for text in [*texts, *ODD_TEXTS]:
        ids = tokenizer(text)["input_ids"]
        assert tokenizer.decode(ids, skip_special_tokens=True) == normalize(text)
        assert min(ids[:-1], default=5) >= 5


@pytest.mark.parametrize("texts", [[], [" ", "\n"]])
def test_no_text_to_train_on(texts):
    with pytest.raises(InputError, match="texts that are not blank"):
        train_tokenizer(texts)
    with pytest.raises(InputError, match="texts that are not blank"):
        train_word_tokenizer(texts)


def test_a_vocabulary_without_room_for_the_bytes():
    with pytest.raises(InputError, match="vocabulary of 100 .* raise vocab_size"):
        train_tokenizer(["hello there"], 100)


def test_word_tokenizer_counts_types_and_maps_unknown_words(tmp_path):
    tokenizer = train_word_tokenizer(["the <unk> cat", "the cat the  dog", "b a"])
    assert len(tokenizer) == len({"the", "<unk>", "cat", "dog", "a", "b"}) + 3
    assert tokenizer.convert_ids_to_tokens(range(9)) == ["<pad>", "<unk>", "<s>", "</s>", "the", "cat", "a", "b", "dog"]
    tokenizer.save_pretrained(tmp_path)
    for each in (tokenizer, AutoTokenizer.from_pretrained(tmp_path)):
        ids = each(" the <unk>  bird </s> <pad> ")["input_ids"]
        assert ids == [4, 1, 1, 1, 1, 3]
        assert each.decode(ids, skip_special_tokens=True) == "the <unk> <unk> <unk> <unk>"


def test_word_tokenizer_keeps_the_most_frequent_words():
    tokenizer = train_word_tokenizer(["b b a a c"], vocab_size=2)
    assert tokenizer.convert_ids_to_tokens(range(len(tokenizer))) == ["<pad>", "<unk>", "<s>", "</s>", "a", "b"]


def unknown_in(tokenizer, texts):
    return count_unknown(tokenizer, texts, tokenizer(texts)["input_ids"])


def test_unknown_words_are_counted_but_not_those_written_so():
    tokenizer = train_word_tokenizer(["the <unk> cat", "a dog"])
    assert unknown_in(tokenizer, ["the <unk> cat", "<unk> <unk>"]) == 0
    assert unknown_in(tokenizer, ["the bird sang", "a <unk> bird", "the cat", "The </s>"]) == 2 + 1 + 0 + 2
    assert count_unknown(tokenizer, ["the bird sang"], [[4, 1, 3]]) == 1, "of what is read"
    assert unknown_sentence(tokenizer, 37, 82_430) == (
        "37 of 82,430 tokens (0.04 %) are unknown to the tokenizer and count as <unk>."
    )


def test_a_tokenizer_of_bytes_knows_everything(tokenizer):
    assert unknown_in(tokenizer, [*ODD_TEXTS, "<unk> ☃"]) == 0


def test_coverage_by_hand():
    words = train_word_tokenizer(["the cat", "a <unk> dog"])
    assert coverage(words, ["the bird", "a <unk> cat"]) == {"tokens_per_word": 1.0, "unknown_share": 1 / 5}
    ends = [(token, -3.0) for token in ("<pad>", "<unk>", "<s>", "</s>", "<mask>")]
    single = [(f"<0x{byte:02X}>", -3.0) for byte in range(256)]
    pieces = unigram_tokenizer([*ends, *single, (" ", -1.0), ("a", -2.0), ("b", -3.0)])
    # " ", a, b, " ", C3, A9 and " ", a of three words
    assert coverage(pieces, ["ab é", "a"]) == {"tokens_per_word": 8 / 3, "unknown_share": 0.0, "byte_share": 2 / 8}
    assert coverage(pieces, [""])["byte_share"] == 0


def test_a_remedy_is_named_where_coverage_is_bad():
    good = {"tokens_per_word": 1.25, "unknown_share": 0.0, "byte_share": 0.01}
    said = "It makes 1.25 tokens of a word of this corpus; 0.0 % of the tokens are unknown, "
    assert coverage_sentence(good, "It", "do that") == said + "1.0 % are single bytes."
    assert (
        coverage_sentence(good | {"byte_share": 0.123}, "It", "do that") == said + "12.3 % are single bytes: do that."
    )
    assert coverage_sentence({"tokens_per_word": 1.0, "unknown_share": 0.3}, "It", "do that").endswith(
        "30.0 % of the tokens are unknown: do that."
    )


def test_unknown_tokens_of_a_tokenizer_from_elsewhere(tmp_path):
    special = {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]"}
    tokenizer = load_tokenizer(save_foreign(tmp_path / "named", **special, unk_token="[UNK]"))
    assert unknown_in(tokenizer, ["a b c [UNK]", "a a", "[UNK] a"]) == 2
    assert unknown_sentence(tokenizer, 1, 2).endswith("count as [UNK].")
    # GPT-2's token for all purposes ends every text
    one_for_all = load_tokenizer(save_foreign(tmp_path / "one", **{**special, "sep_token": "[UNK]"}, unk_token="[UNK]"))
    assert count_unknown(one_for_all, ["a a"], [[4, 4, 0]]) == 0


def save_foreign(path, **special_tokens):
    backend = Tokenizer(models.WordLevel({"[UNK]": 0, "[PAD]": 1, "[CLS]": 2, "[SEP]": 3, "a": 4}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=backend, **special_tokens).save_pretrained(path)
    return str(path)


def test_a_loaded_tokenizer_needs_its_special_tokens(tmp_path):
    with pytest.raises(InputError, match="no eos_token and no pad_token"):
        load_tokenizer(save_foreign(tmp_path / "bare"))
    with pytest.raises(InputError, match="no pad_token"):
        load_tokenizer(save_foreign(tmp_path / "unpadded", eos_token="[SEP]"))


def test_cls_and_sep_stand_in_for_bos_and_eos(tmp_path):
    path = save_foreign(tmp_path, cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]")
    tokenizer = load_tokenizer(path)
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id) == (2, 3)


def test_a_special_token_spelled_out_in_a_text_is_text(tmp_path):
    path = save_decoder(tmp_path)  # a byte-level BPE with `<|endoftext|>`, like GPT-2's
    text = "one<|endoftext|> two <|endoftext|>"
    assert AutoTokenizer.from_pretrained(path).eos_token_id in AutoTokenizer.from_pretrained(path)(text)["input_ids"]
    tokenizer = open_tokenizer(path)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.eos_token_id not in ids and tokenizer.decode(ids, skip_special_tokens=True) == text
    tokenizer.save_pretrained(tmp_path / "saved")
    assert open_tokenizer(str(tmp_path / "saved"))(text)["input_ids"] == tokenizer(text)["input_ids"]


def test_a_missing_tokenizer(tmp_path):
    with pytest.raises(InputError, match="nowhere.*save_pretrained"):
        load_tokenizer(str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="save_pretrained"):
        load_tokenizer(str(tmp_path))
