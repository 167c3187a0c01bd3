"""What it costs to believe that noise has changed a text: the weights of a noisy channel."""

from typing import NamedTuple


class Costs(NamedTuple):
    """Nats that it costs to believe that noise has changed a word in this way; chosen by hand.

    Attributes:
        insert: a word that the noisy text has lost.
        delete: a word that the noisy text has too many.
        replace: a word that was another one.
        respell: a word that was spelled otherwise: one typing error, or upper and lower case.
        swap: two neighbours that changed places.
    """

    insert: float = 6.0
    delete: float = 12.0
    replace: float = 10.0
    respell: float = 5.0
    swap: float = 5.0

    def times(self, factor: float) -> "Costs":
        return Costs(*(factor * cost for cost in self))


COSTS = Costs()
