"""Text in, text out: `TextVAEPipeline` and the functions behind its verbs.

A verb that reads or writes texts goes here, as a function of a `Codec`.
"""

from textvae.pipeline.codec import Codec
from textvae.pipeline.hub import CARD_FILE, METRICS_FILE
from textvae.pipeline.pipeline import TextVAEPipeline

__all__ = ["CARD_FILE", "Codec", "METRICS_FILE", "TextVAEPipeline"]
