"""A saved model learns the pieces of another corpus: its tokenizer, and then the model itself, grow at their end."""

import json
from collections import Counter
from collections.abc import Iterable
from statistics import median

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from textvae.errors import InputError
from textvae.modeling import TextVAEModel
from textvae.parts import add_tokens, set_to_means
from textvae.tokenization import (
    BOS,
    EOS,
    FIRST_PIECE,
    MASK,
    PAD,
    UNK,
    sample_texts,
    scored_pieces,
    train_sentencepiece,
    unigram_tokenizer,
    word_tokenizer,
)
from textvae.tokenizer_pair import Pair

Piece = tuple[str, float]


# the tokenizer


def kind_of(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """`sentencepiece` or `word` if it is as `train_tokenizer` or `train_word_tokenizer` makes them, which can grow.

    In another, say a byte-level BPE, new pieces would have to be merges, or be cut out of a text before all else: how
    old texts are read would change, and so would the spaces of what is decoded.
    """
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        return None
    model = _model(tokenizer)
    if model["type"] == "Unigram" and [piece for piece, _ in model["vocab"][:5]] == [PAD, UNK, BOS, EOS, MASK]:
        kind, remade = "sentencepiece", unigram_tokenizer(_pieces(tokenizer))
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
    """The tokenizer with up to `num_new` pieces of `texts` behind its own, whose ids stay.

    New words are the most frequent ones. New pieces are those of SentencePiece, trained on `texts`, that save the most
    tokens. Their log-probabilities are put on the scale of the old ones by the median difference of the pieces that
    both vocabularies have. A text that holds none of the new pieces is read as before.

    Args:
        tokenizer: left as it is.
        texts: read once; blank ones are ignored.
        max_train_texts: for pieces, a seeded sample of this many texts when there are more.

    Raises:
        InputError: if the tokenizer was not trained by textvae, or there is no text.
    """
    kind = kind_of(tokenizer)
    if kind is None:
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
    """What a tokenizer does before and after it looks pieces up; how calls pad and cut is their own affair."""
    values = json.loads(tokenizer.backend_tokenizer.to_str())
    values["model"].pop("vocab")
    return {name: value for name, value in values.items() if name not in ("padding", "truncation")}


def _with_words(tokenizer: PreTrainedTokenizerFast, texts: Iterable[str], num_new: int) -> PreTrainedTokenizerFast:
    vocabulary = tokenizer.get_vocab()
    counts = Counter(word for text in texts for word in text.split())
    words = sorted(counts.keys() - vocabulary, key=lambda word: (-counts[word], word))[:num_new]
    return word_tokenizer(vocabulary | {word: index for index, word in enumerate(words, len(vocabulary))})


def _with_pieces(tokenizer: PreTrainedTokenizerFast, texts: list[str], num_new: int) -> PreTrainedTokenizerFast:
    """What a candidate is worth is counted where it stands beside all others: uses times the tokens each saves."""
    old = _pieces(tokenizer)
    candidates = _candidates(old, texts, num_new)
    uses = _count_tokens(unigram_tokenizer(old + candidates), texts)
    split = tokenizer.backend_tokenizer.model.tokenize
    worth = {}
    for index, (piece, score) in enumerate(candidates, len(old)):
        if uses[index]:
            worth[piece, score] = uses[index] * (len(split(piece)) - 1), uses[index]
    useful = sorted(worth, key=lambda new: (worth[new], new), reverse=True)
    return unigram_tokenizer(old + useful[:num_new])


def _candidates(old: list[Piece], texts: list[str], num_new: int) -> list[Piece]:
    """Pieces of the texts that the old ones lack, their log-probabilities on the old scale, in 1/256 nat."""
    # Room for the pieces that both have, the new ones, and each character.
    vocab_size = len(old) + num_new + len(set().union(*texts))
    learnt = scored_pieces(train_sentencepiece(texts, vocab_size))
    known, ours = dict(old), dict(old[FIRST_PIECE:])
    shift = median([ours[piece] - score for piece, score in learnt if piece in ours] or [0.0])
    lowest = min(known.values())  # what an unknown character costs depends on it
    return [(piece, max(lowest, round(256 * (score + shift)) / 256)) for piece, score in learnt if piece not in known]


def _count_tokens(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> Counter:
    """How often each id is used."""
    counts = Counter()
    for start in range(0, len(texts), 1000):
        for ids in tokenizer(texts[start : start + 1000], add_special_tokens=False)["input_ids"]:
            counts.update(ids)
    return counts


# the model


@torch.no_grad()
def extend_model(model: TextVAEModel, old: Pair, new: Pair) -> None:
    """Give the model rows for what the `new` tokenizers have behind the `old` ones, which are its own.

    The row of a new piece, in all embeddings, output layers and biases, is the mean of the rows of the pieces that the
    old tokenizer splits it into. That of a word it does not know is the mean of all, so that a softmax that was sure of
    `<unk>` is not shared out among its copies; no mean takes more than the mean probability (Hewitt 2021).
    """
    splits = _new_splits(old[0], new[0])
    add_tokens(model.decoder, splits)
    model.config.decoder.vocab_size = model.decoder.config.vocab_size
    if model.to_bag_of_words is not None and splits:
        model.to_bag_of_words[-1] = _extended(model.to_bag_of_words[-1], splits)
    if model.encoder is not None:
        add_tokens(model.encoder, _new_splits(old[1] or old[0], new[1] or new[0]))
        model.config.encoder.vocab_size = model.encoder.config.vocab_size


def _new_splits(old: PreTrainedTokenizerBase, new: PreTrainedTokenizerBase) -> dict[int, list[int]]:
    """By the id of each new piece, the ids that the old tokenizer splits it into; none if it does not know it."""
    last, unknown = max(old.get_vocab().values()), old.convert_tokens_to_ids(UNK)
    pieces = sorted((index, piece) for piece, index in new.get_vocab().items() if index > last)
    splits = {index: [part.id for part in old.backend_tokenizer.model.tokenize(piece)] for index, piece in pieces}
    return {index: [] if unknown in ids else ids for index, ids in splits.items()}


def _extended(layer: nn.Linear, splits: dict[int, list[int]]) -> nn.Linear:
    longer = nn.Linear(layer.in_features, max(layer.out_features, max(splits) + 1))
    for new, old in ((longer.weight, layer.weight), (longer.bias, layer.bias)):
        new[: len(old)] = old
        set_to_means(new, splits)
    return longer
