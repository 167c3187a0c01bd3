"""What counts as a word."""

import re

# Thai, Lao, Myanmar, Khmer; kana, bopomofo; Han.
_WITHOUT_SPACES = re.compile(
    "([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u312f\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])"
)


def separate_words(text: str) -> str:
    """The text with spaces around each character of a script without spaces, so that each counts as a word."""
    return _WITHOUT_SPACES.sub(r" \1 ", text)


def word_count(text: str) -> int:
    """Number of words between whitespace; in a script without spaces, such as Chinese, every character is a word.

    A per-word perplexity counts one EOS more for each text.
    """
    return len(separate_words(text).split())
