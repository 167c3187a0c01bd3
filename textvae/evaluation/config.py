"""EvaluationConfig: every option of an evaluation."""

from dataclasses import dataclass
from typing import Literal

from textvae.config_fields import COUNT, SEED, check_settings, setting


@dataclass
class EvaluationConfig:
    """How a model is evaluated. Neither `batch_size` nor the number of processes changes a result.

    Args:
        num_importance_samples: K of the importance-weighted bound; a language model needs 1, which is exact.
        num_importance_texts: texts, chosen by `seed`, for that bound and the perplexities; all if None.
        num_reconstructed_texts: texts, chosen by `seed`, that are reconstructed greedily from their posterior mean; all
            if None.
        num_prior_samples: texts that are written from draws of the prior, and the most texts that judges read of each
            kind.
        judge: a causal language model, by path or Hub name, that judges fluency.
        judge_encoder: an encoder, by path or Hub name, in whose space samples and walks are compared with held-out
            texts.
        max_new_tokens: the maximum length of what is written; that of the tokenizer if None, or 64 if it has none.
        batch_size: texts in the model at a time; importance sampling takes up to eight z of each.
        seed: of all noise, and of the texts that are chosen.
        mixed_precision: dtype of the matrix products. Sums of probabilities stay in fp32, so that every bound is one,
            for the model as it computes in this precision.

    Raises:
        InputError: for a value that is out of its range.
    """

    num_importance_samples: int = setting(100, "K of the importance-weighted bound", COUNT)
    num_importance_texts: int | None = setting(None, "texts for the importance-weighted bound; none: all", COUNT)
    num_reconstructed_texts: int | None = setting(1000, "texts that are reconstructed greedily; none: all", COUNT)
    num_prior_samples: int = setting(500, "prior samples, and the most texts of each kind that judges read", COUNT)
    judge: str | None = setting(None, "a causal language model, by path or Hub name, that judges fluency")
    judge_encoder: str | None = setting(
        None, "an encoder, by path or Hub name, that compares samples and walks with held-out texts"
    )
    max_new_tokens: int | None = setting(None, "maximum tokens of what is written; none: max_length", COUNT)
    batch_size: int = setting(64, "texts in a batch, per process", COUNT)
    seed: int = setting(0, "random seed of the noise and of the texts that are chosen", SEED)
    mixed_precision: Literal["no", "bf16", "fp16"] = setting("no", "dtype of the matrix products")

    def __post_init__(self):
        check_settings(self)
