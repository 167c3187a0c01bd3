"""Tokenizers: SentencePiece trained on the user's own corpus, words for the classical benchmarks, or an existing one.

Whatever the origin, the result is an ordinary Hugging Face tokenizer: `save_pretrained` writes `tokenizer.json` and
`tokenizer_config.json`, and `AutoTokenizer.from_pretrained` opens them.
"""

import io
import random
import re
import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from sentencepiece import SentencePieceProcessor, SentencePieceTrainer
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from textvae.errors import InputError

PAD, UNK, BOS, EOS, MASK = "<pad>", "<unk>", "<s>", "</s>", "<mask>"
_UNK_ID = 1
MAX_LENGTH = 64  # of a text in tokens, where nobody says another
FIRST_PIECE = 5 + 256  # of a trained tokenizer: behind the special tokens and the bytes

# SentencePiece writes spaces as "▁", so a "▁" in a text is a space too.
_NORMALIZER = normalizers.Sequence(
    [normalizers.NFKC(), normalizers.Replace(Regex(r"[\s▁]+"), " "), normalizers.Strip()]
)

# Thai, Lao, Myanmar, Khmer; kana, bopomofo; Han.
_WITHOUT_SPACES = re.compile(
    "([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u312f\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])"
)

# How a tokenizer with byte fallback writes a byte, and from what share on of the tokens that is too often.
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
_MANY_BYTES = 0.05
_MUCH_UNKNOWN = 0.02

# SentencePiece skips a training sentence that holds this character, which it uses as a mark of its own.
_RESERVED = "\u2585"

# Training reads this many characters of a text; SentencePiece would drop a longer one whole.
_MAX_CHARACTERS = 4_000


def normalize(text: str) -> str:
    """The text as a trained tokenizer sees it: NFKC, each run of whitespace (and "▁") one space, none at the ends."""
    return _NORMALIZER.normalize_str(text)


def separate_words(text: str) -> str:
    """The text with a space around each character of a script that puts none between words: these count as words."""
    return _WITHOUT_SPACES.sub(r" \1 ", text)


def train_tokenizer(
    texts: Iterable[str], vocab_size: int = 8000, *, max_train_texts: int = 100_000, seed: int = 0
) -> PreTrainedTokenizerFast:
    """Train SentencePiece (Unigram with byte fallback; Kudo 2018) on `texts` and return it as a fast tokenizer.

    Texts are normalised first: NFKC, every run of whitespace (or "▁") becomes one space, and the ends are stripped.
    Up to these rules `decode(encode(text), skip_special_tokens=True)` is the text, in any script: what the vocabulary
    lacks is written in UTF-8 bytes, never as `<unk>`. Encoding appends `</s>`; `<s>` is left to the model. Special
    tokens spelled out in a text are ordinary characters. Equal texts and arguments give an equal tokenizer.

    Args:
        texts: read once; blank ones are ignored.
        vocab_size: pieces, the 5 special tokens and the 256 bytes among them; fewer where the corpus has no more.
        max_train_texts: train on a seeded sample of this many texts when there are more.
        seed: of that sample.

    Returns:
        ids: `<pad>` 0, `<unk>` 1, `<s>` 2, `</s>` 3, `<mask>` 4, then the bytes, then the pieces.

    Raises:
        InputError: if no text holds a character, or `vocab_size` has no room for the corpus's characters.
    """
    texts = sample_texts(texts, max_train_texts, seed)
    return unigram_tokenizer(scored_pieces(train_sentencepiece(texts, vocab_size)))


def train_word_tokenizer(texts: Iterable[str], vocab_size: int | None = None) -> PreTrainedTokenizerFast:
    """A tokenizer whose tokens are the whitespace-separated words of `texts`, as in the classical benchmarks.

    A word outside the vocabulary is `<unk>`, and so is a literal `<unk>` in a text, as in Mikolov's Penn Treebank.
    Encoding appends `</s>`; decoding joins the words by spaces, unknown ones included. There is no mask token,
    and `<unk>` is an ordinary word (`unk_token` is None).

    Args:
        texts: read once.
        vocab_size: keep this many words (the most frequent; ties in alphabetical order), `<unk>` not counted; all
            of them by default.

    Returns:
        ids: `<pad>` 0, `<unk>` 1, `<s>` 2, `</s>` 3, then the words from the most frequent.

    Raises:
        InputError: if `texts` holds no word.
    """
    counts = Counter(word for text in texts for word in text.split())
    if not counts:
        raise InputError("There is no word to build a vocabulary from: give texts that are not blank.")
    specials = [PAD, UNK, BOS, EOS]
    words = sorted(counts.keys() - set(specials), key=lambda word: (-counts[word], word))[:vocab_size]
    return word_tokenizer({token: index for index, token in enumerate(specials + words)})


def word_tokenizer(vocabulary: dict[str, int]) -> PreTrainedTokenizerFast:
    """The tokenizer that `train_word_tokenizer` makes of the ids of words."""
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNK))
    # The word-level model looks up any word, so a special token spelled out in a text is made unknown beforehand.
    tokenizer.normalizer = normalizers.Replace(Regex(r"(?<!\S)(<pad>|<s>|</s>)(?!\S)"), UNK)
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    # `<unk>` is a word of the vocabulary and no special token, so `skip_special_tokens=True` keeps it when decoding.
    return _finish(tokenizer)


def open_tokenizer(name_or_path: str) -> PreTrainedTokenizerBase:
    """An existing tokenizer as it is, perhaps without EOS or padding token; see [`load_tokenizer`].

    Raises:
        InputError: if it cannot be opened.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(name_or_path)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"No tokenizer could be opened from {str(name_or_path)!r}: give a directory written by save_pretrained, "
            "or the name of a model on the Hub."
        ) from error
    if tokenizer.bos_token is None:
        tokenizer.bos_token = tokenizer.cls_token
    if tokenizer.eos_token is None:
        tokenizer.eos_token = tokenizer.sep_token
    return tokenizer


def load_tokenizer(name_or_path: str) -> PreTrainedTokenizerBase:
    """Open an existing tokenizer by its Hub name or its directory.

    It may put a token in front (BERT's `[CLS]`, Llama's `<s>`). Where there is no BOS or EOS, CLS and SEP take their
    place, as in Hugging Face's encoder-decoder models.

    Raises:
        InputError: if it cannot be opened, or has no EOS or padding token.
    """
    tokenizer = open_tokenizer(name_or_path)
    needed = {"eos_token": tokenizer.eos_token, "pad_token": tokenizer.pad_token}
    missing = [name for name, token in needed.items() if token is None]
    if missing:
        raise InputError(
            f"The tokenizer {str(name_or_path)!r} has no {' and no '.join(missing)}: set it, save the tokenizer with "
            "save_pretrained, and give that directory."
        )
    return tokenizer


def leading_token(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The BOS or CLS that it puts in front of every text, which a decoder is told and never writes; None for none."""
    first = tokenizer("a")["input_ids"][0]
    return first if first in {tokenizer.bos_token_id, tokenizer.cls_token_id} else None


def special_ids(tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
    """What a model must know of its decoder's tokenizer; texts start with EOS where there is no BOS."""
    return {
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }


def check_vocabulary(tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    """Raises InputError if it knows no word: what Hugging Face opens in silence where there is a model only."""
    added = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    if not tokenizer.get_vocab().keys() - added - {*tokenizer.all_special_tokens, "▁"}:
        raise InputError(f"{name!r} holds no vocabulary: give a directory with a tokenizer in it.")


def count_unknown(tokenizer: PreTrainedTokenizerBase, texts: Iterable[str], input_ids: Iterable[Sequence[int]]) -> int:
    """How many tokens became unknown without being written so: a literal `<unk>`, as in Penn Treebank, is known.

    Args:
        texts: as they are written.
        input_ids: what the tokenizer made of each. Where that was cut, a `<unk>` written behind the cut may hide an
            unknown token before it.
    """
    token = _unknown_token(tokenizer)
    unknown = tokenizer.convert_tokens_to_ids(token)
    if unknown in {None, tokenizer.bos_token_id, tokenizer.eos_token_id}:  # GPT-2's, which knows every byte
        return 0
    pairs = zip(texts, input_ids, strict=True)
    return sum(max(0, list(ids).count(unknown) - text.count(token)) for text, ids in pairs)


def unknown_sentence(tokenizer: PreTrainedTokenizerBase, num_unknown: int, num_tokens: int) -> str:
    """What a user is told of `num_unknown` of the `num_tokens` tokens of a corpus."""
    share = 100 * num_unknown / num_tokens
    return (
        f"{num_unknown:,} of {num_tokens:,} tokens ({share:.2f} %) are unknown to the tokenizer and count as "
        f"{_unknown_token(tokenizer)}."
    )


def coverage(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> dict[str, float]:
    """How well a tokenizer fits texts, by what it makes of them without the tokens that it puts at their ends.

    Returns:
        `tokens_per_word`, words being what stands between whitespace, or one character of a script without spaces;
        `unknown_share` of the tokens, as [`count_unknown`] counts; and `byte_share`, if it writes in single bytes what
        it has no piece for.
    """
    ids = tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
    num_tokens = max(1, sum(map(len, ids)))
    num_words = max(1, sum(len(separate_words(text).split()) for text in texts))
    values = {"tokens_per_word": num_tokens / num_words,
              "unknown_share": count_unknown(tokenizer, texts, ids) / num_tokens}  # fmt: skip
    single = {index for token, index in tokenizer.get_vocab().items() if _BYTE.fullmatch(token)}
    if single:
        values["byte_share"] = sum(index in single for row in ids for index in row) / num_tokens
    return values


def coverage_sentence(values: dict[str, float], reader: str, remedy: str) -> str:
    """What a user is told of the [`coverage`] by the tokenizer called `reader`; of `remedy` only where it is bad."""
    shares = [f"{100 * values['unknown_share']:.1f} % of the tokens are unknown"]
    if "byte_share" in values:
        shares.append(f"{100 * values['byte_share']:.1f} % are single bytes")
    is_bad = values["unknown_share"] > _MUCH_UNKNOWN or values.get("byte_share", 0) > _MANY_BYTES
    said = f"{reader} makes {values['tokens_per_word']:.2f} tokens of a word of this corpus; {', '.join(shares)}"
    return f"{said}: {remedy}." if is_bad else f"{said}."


def _unknown_token(tokenizer: PreTrainedTokenizerBase) -> str:
    """A word tokenizer names none, as its `<unk>` is a word like others."""
    return tokenizer.unk_token or UNK


def sample_texts(texts: Iterable[str], limit: int, seed: int) -> list[str]:
    """A uniform sample of `limit` texts in one pass (reservoir sampling)."""
    generator, kept = random.Random(seed), []
    for index, text in enumerate(texts):
        if index < limit:
            kept.append(text)
        elif (place := generator.randrange(index + 1)) < limit:
            kept[place] = text
    return kept


def _training_lines(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        line = normalize(text[:_MAX_CHARACTERS].replace(_RESERVED, " ").replace("\0", " "))
        if line:
            yield line


def train_sentencepiece(texts: Iterable[str], vocab_size: int) -> SentencePieceProcessor:
    """SentencePiece itself, trained as in `train_tokenizer`, on all of the texts."""
    lines = list(_training_lines(texts))
    if not lines:
        raise InputError("There is no text to train a tokenizer on: give texts that are not blank.")
    model = io.BytesIO()
    try:
        SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=model,
            model_type="unigram",
            vocab_size=vocab_size,
            hard_vocab_limit=False,  # a small corpus gives fewer pieces instead of an error
            byte_fallback=True,
            normalization_rule_name="identity",  # the lines are normalised already
            max_sentence_length=16 * _MAX_CHARACTERS,  # in bytes
            pad_id=0,
            unk_id=_UNK_ID,
            bos_id=2,
            eos_id=3,
            control_symbols=[MASK],
            num_threads=4,  # fixed: sums of floats, and so the pieces, depend on it
            minloglevel=2,
        )
    except RuntimeError as error:
        raise InputError(
            f"A vocabulary of {vocab_size} has no room for the 256 bytes and the characters of the corpus: "
            f"raise vocab_size ({str(error).splitlines()[0]})."
        ) from error
    return SentencePieceProcessor(model_proto=_round_scores(model.getvalue()))


def _round_scores(model: bytes) -> bytes:
    """The serialised model with the score of every piece rounded to 1/256 nat.

    Sums of such scores are exact in float32 (SentencePiece) and in float64 (`tokenizers`), so that the two agree on
    which of two equally good segmentations comes first ("y yyy" or "yyy y").
    """
    rounded, position = bytearray(model), 0
    while rounded[position] == 0x0A:  # the pieces come first, each: 0x0A, length, 0x0A, length, piece, 0x15, float32
        size, start = _varint(rounded, position + 1)
        name_size, name = _varint(rounded, start + 1)
        place = name + name_size
        if rounded[place] == 0x15:
            (score,) = struct.unpack_from("<f", rounded, place + 1)
            struct.pack_into("<f", rounded, place + 1, round(score * 256) / 256)
        position = start + size
    return bytes(rounded)


def _varint(data: bytes | bytearray, position: int) -> tuple[int, int]:
    """A protocol buffer's variable-length integer and the position after it."""
    value, shift = 0, 0
    while data[position] & 0x80:
        value |= (data[position] & 0x7F) << shift
        position, shift = position + 1, shift + 7
    return value | data[position] << shift, position + 1


def unigram_tokenizer(pieces: Sequence[tuple[str, float]]) -> PreTrainedTokenizerFast:
    """The tokenizer that `train_tokenizer` makes of pieces and their log-probabilities, in the order of their ids."""
    tokenizer = Tokenizer(models.Unigram(list(pieces), unk_id=_UNK_ID, byte_fallback=True))
    tokenizer.normalizer = _NORMALIZER
    # SentencePiece never matches its special and byte pieces in a text; `tokenizers` would, were the "<" not cut off.
    special = Regex(r"<(?=(?:pad|unk|s|/s|mask|0x[0-9A-F]{2})>)")
    metaspace = pre_tokenizers.Metaspace(prepend_scheme="always", split=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([metaspace, pre_tokenizers.Split(special, "isolated")])
    # Bytes come before spaces, because in a small vocabulary "▁" itself may be written in bytes.
    tokenizer.decoder = decoders.Sequence(
        [decoders.ByteFallback(), decoders.Fuse(), decoders.Replace("▁", " "), decoders.Strip(" ", 1, 0)]
    )
    return _finish(tokenizer, unk_token=UNK, mask_token=MASK)


def scored_pieces(processor: SentencePieceProcessor) -> list[tuple[str, float]]:
    """The pieces in the order of their ids, each with its log-probability, in 1/256 nat."""
    ids = range(processor.get_piece_size())
    meta = {i for i in ids if processor.is_control(i) or processor.is_unknown(i) or processor.is_byte(i)}
    # The lowest score of a real piece, so that an unknown character costs what it costs in SentencePiece.
    lowest = min((processor.get_score(i) for i in ids if i not in meta), default=0.0)
    return [(processor.id_to_piece(i), lowest if i in meta else processor.get_score(i)) for i in ids]


def _finish(tokenizer: Tokenizer, **special_tokens: str) -> PreTrainedTokenizerFast:
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {EOS}", pair=f"$A {EOS} $B {EOS}", special_tokens=[(EOS, tokenizer.token_to_id(EOS))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        split_special_tokens=True,
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
        **special_tokens,
    )
