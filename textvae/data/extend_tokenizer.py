"""A trained tokenizer learns the pieces or words of another corpus."""

import json
from collections import Counter
from collections.abc import Iterable
from statistics import median

from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from textvae.data.normalization import Normalization, normalization_of
from textvae.data.special_tokens import BOS, EOS, MASK, PAD, UNK
from textvae.data.tokenization import word_tokenizer
from textvae.data.unigram import FIRST_PIECE, sample_texts, scored_pieces, train_sentencepiece, unigram_tokenizer
from textvae.errors import InputError

Piece = tuple[str, float]


def kind_of(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """`sentencepiece` or `word` for a tokenizer that `train_tokenizer` or `train_word_tokenizer` made; else None.

    Only these can grow. In a byte-level BPE, for example, new pieces would have to be merges, or be cut out of a text
    first: old texts would be read in another way, and decoded with other spaces.
    """
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        return None
    model = _model(tokenizer)
    if model["type"] == "Unigram" and [piece for piece, _ in model["vocab"][:5]] == [PAD, UNK, BOS, EOS, MASK]:
        kind, remade = "sentencepiece", unigram_tokenizer(_pieces(tokenizer), normalization_of(tokenizer))
    elif model["type"] == "WordLevel" and [model["vocab"].get(token) for token in (PAD, UNK, BOS, EOS)] == [0, 1, 2, 3]:
        kind, remade = "word", word_tokenizer(model["vocab"])
    else:
        return None
    return kind if _all_but_vocabulary(tokenizer) == _all_but_vocabulary(remade) else None


def extend_tokenizer(
    tokenizer: PreTrainedTokenizerBase,
    texts: Iterable[str],
    num_new: int,
    *,
    max_train_texts: int = 100_000,
    seed: int = 0,
) -> PreTrainedTokenizerFast:
    """Add up to `num_new` pieces of `texts` to a tokenizer, behind its own, whose ids stay.

    New words are the most frequent ones. New pieces come from SentencePiece, trained on `texts`, and are those that
    save the most tokens. The median difference of the pieces that both vocabularies have puts their log-probabilities
    on the scale of the old ones. A text without any of the new pieces is read as before.

    Args:
        tokenizer: is not changed.
        texts: read once; blank ones are ignored.
        max_train_texts: take pieces from a seeded sample of so many texts if there are more.

    Raises:
        InputError: if the tokenizer was not trained by textvae, or there is no text.
    """
    kind = kind_of(tokenizer)
    if kind is None or not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise InputError(
            "extend_tokenizer adds to a tokenizer that textvae trained, and this model has another, to which nothing "
            "can be added without a change in how it reads: leave extend_tokenizer out."
        )
    if kind == "word":
        extended = _with_words(tokenizer, texts, num_new)
    else:
        extended = _with_pieces(tokenizer, sample_texts(texts, max_train_texts, seed), num_new)
    extended.model_max_length = tokenizer.model_max_length
    return extended


def _model(tokenizer: PreTrainedTokenizerFast) -> dict:
    return json.loads(tokenizer.backend_tokenizer.to_str())["model"]


def _pieces(tokenizer: PreTrainedTokenizerFast) -> list[Piece]:
    return [(piece, score) for piece, score in _model(tokenizer)["vocab"]]


def _all_but_vocabulary(tokenizer: PreTrainedTokenizerFast) -> dict:
    """All settings of a tokenizer but its vocabulary, and padding and truncation, which belong to single calls."""
    values = json.loads(tokenizer.backend_tokenizer.to_str())
    values["model"].pop("vocab")
    return {name: value for name, value in values.items() if name not in ("padding", "truncation")}


def _with_words(tokenizer: PreTrainedTokenizerFast, texts: Iterable[str], num_new: int) -> PreTrainedTokenizerFast:
    vocabulary = tokenizer.get_vocab()
    counts = Counter(word for text in texts for word in text.split())
    words = sorted(counts.keys() - vocabulary, key=lambda word: (-counts[word], word))[:num_new]
    return word_tokenizer(vocabulary | {word: index for index, word in enumerate(words, len(vocabulary))})


def _with_pieces(tokenizer: PreTrainedTokenizerFast, texts: list[str], num_new: int) -> PreTrainedTokenizerFast:
    """Candidates are ranked by the tokens they save in total when all of them are in the vocabulary."""
    old, normalization = _pieces(tokenizer), normalization_of(tokenizer)
    candidates = _candidates(old, texts, num_new, normalization)
    uses = _count_tokens(unigram_tokenizer(old + candidates, normalization), texts)
    split = tokenizer.backend_tokenizer.model.tokenize
    worth = {}
    for index, (piece, score) in enumerate(candidates, len(old)):
        if uses[index]:
            worth[piece, score] = uses[index] * (len(split(piece)) - 1), uses[index]
    useful = sorted(worth, key=lambda new: (worth[new], new), reverse=True)
    return unigram_tokenizer(old + useful[:num_new], normalization)


def _candidates(old: list[Piece], texts: list[str], num_new: int, normalization: Normalization) -> list[Piece]:
    """New pieces of the texts, their log-probabilities on the scale of the old ones and rounded to 1/256 nat."""
    # Room for the pieces that both have, for the new ones, and for each character.
    vocab_size = len(old) + num_new + len(set().union(*texts))
    learnt = scored_pieces(train_sentencepiece(texts, vocab_size, normalization), normalization)
    known, ours = dict(old), dict(old[FIRST_PIECE:])
    shift = median([ours[piece] - score for piece, score in learnt if piece in ours] or [0.0])
    lowest = min(known.values())  # a lower one would change the cost of unknown characters
    return [(piece, max(lowest, round(256 * (score + shift)) / 256)) for piece, score in learnt if piece not in known]


def _count_tokens(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> Counter:
    """How often each id is used."""
    counts = Counter()
    for start in range(0, len(texts), 1000):
        for ids in tokenizer(texts[start : start + 1000], add_special_tokens=False)["input_ids"]:
            counts.update(ids)
    return counts
