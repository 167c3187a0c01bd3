"""A spelling corrector, word by word, beside which typing errors are repaired: SymSpell and its English words."""

from importlib.resources import files
from importlib.util import find_spec

from textvae.errors import require_extra

MOST_EDITS = 2


def has_symspell() -> bool:
    """Whether the package symspellpy, an extra, is installed."""
    return find_spec("symspellpy") is not None


class SpellingCorrector:
    """The most frequent English word within two edits of each word that is none; the rest of the text stays."""

    def __init__(self):
        """Load the words; raises InputError without symspellpy."""
        require_extra("symspellpy", "symspellpy", "recipes", "A spelling corrector")
        from symspellpy import SymSpell

        self.symspell = SymSpell(max_dictionary_edit_distance=MOST_EDITS)
        words = files("symspellpy").joinpath("frequency_dictionary_en_82_765.txt")
        self.symspell.load_dictionary(str(words), term_index=0, count_index=1)

    def correct(self, text: str) -> str:
        """The text, one space between words, with each word corrected; its case and the punctuation around it stay."""
        return " ".join(map(self._corrected, text.split()))

    def _corrected(self, word: str) -> str:
        from symspellpy import Verbosity

        inside = word.strip("\"'.,;:!?()[]")
        if not inside.isalpha():
            return word
        best = self.symspell.lookup(inside.lower(), Verbosity.TOP, MOST_EDITS, include_unknown=True)[0].term
        cased = (
            best.upper() if inside.isupper() and len(inside) > 1 else best.capitalize() if inside[0].isupper() else best
        )
        return word.replace(inside, cased)
