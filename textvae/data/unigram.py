"""A Unigram tokenizer with byte fallback, trained by SentencePiece on a corpus."""

import io
import random
import re
from collections.abc import Iterable, Iterator, Sequence

from sentencepiece import SentencePieceProcessor, SentencePieceTrainer
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from textvae.data.normalization import NORMALIZATION, Normalization, normalize, normalizer_of
from textvae.data.special_tokens import MASK, UNK
from textvae.data.tokenization import finish_tokenizer
from textvae.errors import InputError

FIRST_PIECE = 5 + 256  # behind the special tokens and the bytes
_UNK_ID = 1
_RESERVED = "\u2585"  # SentencePiece uses this character as a mark, and skips training sentences that hold it
_MAX_CHARACTERS = 4_000  # of a text that training reads; SentencePiece would skip a longer one

_SPACE = "▁"  # how SentencePiece writes a space


def train_tokenizer(
    texts: Iterable[str],
    vocab_size: int = 8000,
    *,
    normalization: Normalization = "nfc",
    max_train_texts: int = 100_000,
    seed: int = 0,
) -> PreTrainedTokenizerFast:
    """Train SentencePiece (Unigram with byte fallback; Kudo 2018) on `texts` and return it as a fast tokenizer.

    Apart from the normalization, `decode(encode(text), skip_special_tokens=True)` is the text, in any script:
    characters outside the vocabulary are written as UTF-8 bytes, never as `<unk>`. Encoding appends `</s>`; the model
    adds `<s>`. Special tokens spelled out in a text are ordinary characters. Equal texts and arguments give an equal
    tokenizer.

    Args:
        texts: read once; blank ones are ignored.
        vocab_size: number of pieces, with the 5 special tokens and the 256 bytes; a small corpus may give fewer.
        normalization: what changes a text first, see [`normalize`]; with `none` every text comes back as it is.
        max_train_texts: train on a seeded sample of so many texts if there are more.
        seed: of that sample.

    Returns:
        ids: `<pad>` 0, `<unk>` 1, `<s>` 2, `</s>` 3, `<mask>` 4, then the bytes, then the pieces.

    Raises:
        InputError: if no text holds a character, or `vocab_size` has no room for the corpus's characters.
    """
    texts = sample_texts(texts, max_train_texts, seed)
    processor = train_sentencepiece(texts, vocab_size, normalization)
    return unigram_tokenizer(scored_pieces(processor, normalization), normalization)


def sample_texts(texts: Iterable[str], limit: int, seed: int) -> list[str]:
    """A uniform sample of `limit` texts in one pass (reservoir sampling)."""
    generator, kept = random.Random(seed), []
    for index, text in enumerate(texts):
        if index < limit:
            kept.append(text)
        elif (place := generator.randrange(index + 1)) < limit:
            kept[place] = text
    return kept


def _training_lines(texts: Iterable[str], normalization: Normalization) -> Iterator[str]:
    marks = str.maketrans(dict.fromkeys((_RESERVED, "\0", _SPACE), " "))
    for text in texts:
        line = normalize(text[:_MAX_CHARACTERS].translate(marks), normalization)
        if line.strip():
            yield line


def train_sentencepiece(
    texts: Iterable[str], vocab_size: int, normalization: Normalization = "nfc"
) -> SentencePieceProcessor:
    """Train SentencePiece itself, as in `train_tokenizer`, on all of the texts."""
    keeps_spaces = normalization != "nfkc"
    lines = list(_training_lines(texts, normalization))
    if not lines:
        raise InputError("There is no text to train a tokenizer on: give texts that are not blank.")
    model = io.BytesIO()
    try:
        SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=model,
            model_type="unigram",
            vocab_size=vocab_size,
            hard_vocab_limit=False,  # a small corpus gives fewer pieces, and no error
            byte_fallback=True,
            normalization_rule_name="identity",  # the lines are normalised already
            remove_extra_whitespaces=not keeps_spaces,
            allow_whitespace_only_pieces=keeps_spaces,
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
        needed = re.search(r"\d+ vs (\d+)", str(error))
        raise InputError(
            f"A vocabulary of {vocab_size} has no room for the 256 bytes and the characters of the corpus: raise "
            f"vocab_size{f' to {needed[1]} or more' if needed else ''}."
        ) from error
    return SentencePieceProcessor(model_proto=model.getvalue())


def unigram_tokenizer(
    pieces: Sequence[tuple[str, float]], normalization: Normalization = "nfc"
) -> PreTrainedTokenizerFast:
    """The tokenizer of these pieces and their log-probabilities, in the order of their ids."""
    tokenizer = Tokenizer(models.Unigram(list(pieces), unk_id=_UNK_ID, byte_fallback=True))
    tokenizer.normalizer = normalizer_of(normalization)
    # SentencePiece never matches its special and byte pieces in a text; `tokenizers` would, were the "<" not cut off.
    special = pre_tokenizers.Split(Regex(r"<(?=(?:pad|unk|s|/s|mask|0x[0-9A-F]{2})>)"), "isolated")
    first, spaces = decoders.Strip(" ", 1, 0), []
    if normalization == "nfkc":
        words, spaces = pre_tokenizers.Metaspace(prepend_scheme="always", split=True), [decoders.Replace(_SPACE, " ")]
    else:
        words = pre_tokenizers.Split(Regex(" +[^ ]*"), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, special])
    # Bytes come before spaces, because in a small vocabulary a space itself may be written in bytes.
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse(), *spaces, first])
    return finish_tokenizer(tokenizer, unk_token=UNK, mask_token=MASK, **{NORMALIZATION: normalization})


def scored_pieces(processor: SentencePieceProcessor, normalization: Normalization = "nfc") -> list[tuple[str, float]]:
    """The pieces in the order of their ids, each with its log-probability, rounded to 1/256 nat.

    Outside NFKC a space is a space in them and no "▁", so that a "▁" in a text is no space.

    Sums of such numbers are exact, so that the choice between two equally good segmentations ("y yyy" or "yyy y") does
    not depend on rounding.
    """
    ids = range(processor.get_piece_size())
    meta = {i for i in ids if processor.is_control(i) or processor.is_unknown(i) or processor.is_byte(i)}
    scores = [round(processor.get_score(i) * 256) / 256 for i in ids]
    # The lowest score of a real piece, so that an unknown character costs what it costs in SentencePiece.
    lowest = min((scores[i] for i in ids if i not in meta), default=0.0)
    space = _SPACE if normalization == "nfkc" else " "
    return [(processor.id_to_piece(i).replace(_SPACE, space), lowest if i in meta else scores[i]) for i in ids]
