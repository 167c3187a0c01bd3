"""Existing tokenizers, and word tokenizers for the classical benchmarks.

Whatever its origin, a tokenizer is an ordinary Hugging Face one: `save_pretrained` writes `tokenizer.json` and
`tokenizer_config.json`, and `AutoTokenizer.from_pretrained` opens them.
"""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from textvae.data.special_tokens import BOS, EOS, PAD, UNK
from textvae.errors import InputError
from textvae.files import brief, damaged_json

MAX_LENGTH = 64  # the default maximum length of a text, in tokens


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
    """The word tokenizer with this vocabulary: word → id."""
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNK))
    # The word-level model looks up any word, so a special token spelled out in a text is made unknown beforehand.
    tokenizer.normalizer = normalizers.Replace(Regex(r"(?<!\S)(<pad>|<s>|</s>)(?!\S)"), UNK)
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    # `<unk>` is a word of the vocabulary and no special token, so `skip_special_tokens=True` keeps it when decoding.
    return finish_tokenizer(tokenizer)


def open_tokenizer(name_or_path: str) -> PreTrainedTokenizerBase:
    """Open an existing tokenizer, which may lack EOS or padding token; see [`load_tokenizer`].

    Raises:
        InputError: if it cannot be opened.
    """
    try:
        # A special token that is spelled out in a text is text: an `<|endoftext|>` there does not end it.
        options = {"split_special_tokens": True, "trust_remote_code": False}
        tokenizer = AutoTokenizer.from_pretrained(name_or_path, **options)
    except Exception as error:  # whatever a library raises about files that hold something else than they should
        damaged = damaged_json(Path(name_or_path))
        why = f"{damaged} is not a valid JSON object" if damaged else brief(error)
        if "trust_remote_code" in str(error):
            why = "it needs program code of its own, and textvae runs no such code"
        raise InputError(
            f"No tokenizer could be opened from {str(name_or_path)!r} ({why}): give a directory written by "
            "save_pretrained, or the name of a model on the Hub."
        ) from error
    length = tokenizer.model_max_length
    if isinstance(length, bool) or not isinstance(length, (int, float)) or length < 1 or length % 1:
        raise InputError(
            f"model_max_length of the tokenizer {str(name_or_path)!r} is {length!r}, it must be a whole number: "
            "correct its tokenizer_config.json."
        )
    tokenizer.model_max_length = int(length)
    if tokenizer.bos_token is None:
        tokenizer.bos_token = tokenizer.cls_token
    if tokenizer.eos_token is None:
        tokenizer.eos_token = tokenizer.sep_token
    return tokenizer


def load_tokenizer(name_or_path: str) -> PreTrainedTokenizerBase:
    """Open an existing tokenizer by its Hub name or its directory.

    It may put a token before each text (BERT's `[CLS]`, Llama's `<s>`). If it has no BOS or EOS, CLS and SEP take their
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


def check_vocabulary(tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    """Raises InputError if the vocabulary is empty: Hugging Face opens such a tokenizer where there is only a model."""
    added = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    if not tokenizer.get_vocab().keys() - added - {*tokenizer.all_special_tokens, "▁", " "}:
        raise InputError(f"{name!r} holds no vocabulary: give a directory with a tokenizer in it.")


def finish_tokenizer(tokenizer: Tokenizer, **settings: str) -> PreTrainedTokenizerFast:
    """The fast tokenizer that appends EOS and takes special tokens spelled out in a text for ordinary characters.

    Args:
        settings: other special tokens, and what `tokenizer_config.json` is to keep.
    """
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
        **settings,
    )
