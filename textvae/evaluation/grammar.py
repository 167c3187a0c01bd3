"""English sentences whose factors are known, to measure what the dimensions of z mean.

A sentence says who (subject, number) does what (verb) to what (object), when (tense), and whether at all (negation).
All 2,592 combinations are there once, so the factors are independent of each other, and the entropy of a sentence is
ln 2,592 = 7.86 nats: no −ELBO of all of them is less.
"""

import random
from itertools import product

SUBJECTS = {  # singular → plural
    "nurse": "nurses",
    "teacher": "teachers",
    "farmer": "farmers",
    "child": "children",
    "woman": "women",
    "painter": "painters",
}
VERBS = {  # base → past
    "see": "saw",
    "find": "found",
    "draw": "drew",
    "forget": "forgot",
    "like": "liked",
    "paint": "painted",
}
OBJECTS = ("river", "bridge", "garden", "tower", "village", "house")
FACTORS = {
    "subject": tuple(SUBJECTS),
    "verb": tuple(VERBS),
    "object": OBJECTS,
    "tense": ("past", "present", "future"),
    "number": ("singular", "plural"),
    "negation": ("yes", "no"),
}


def sentence(subject: str, verb: str, object: str, tense: str, number: str, negation: str) -> str:
    """The sentence with these values of `FACTORS`: `the nurses did not see the river`."""
    who = subject if number == "singular" else SUBJECTS[subject]
    return f"the {who} {predicate(verb, tense, number, negation == 'yes')} the {object}"


def predicate(verb: str, tense: str, number: str, negated: bool) -> str:
    """The verb with its ending, or with its auxiliary and `not`."""
    if tense == "future":
        return f"will not {verb}" if negated else f"will {verb}"
    if negated:
        auxiliary = "did" if tense == "past" else "does" if number == "singular" else "do"
        return f"{auxiliary} not {verb}"
    return VERBS[verb] if tense == "past" else f"{verb}s" if number == "singular" else verb


def sentences(seed: int = 0) -> list[dict[str, str]]:
    """All sentences in a random order, each as `text` and its factors."""
    rows = [dict(zip(FACTORS, values, strict=True)) for values in product(*FACTORS.values())]
    random.Random(seed).shuffle(rows)
    return [{"text": sentence(**row)} | row for row in rows]
