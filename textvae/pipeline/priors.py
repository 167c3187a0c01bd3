"""The prior that a pipeline draws from: fitted to the z of texts, kept in a file beside the model; or the model's own.

N texts · Z latent_size
"""

from torch import Tensor

from textvae.data.inference_batches import InferenceBatches
from textvae.errors import InputError, shown
from textvae.latents.priors import GaussianPrior
from textvae.modeling.autoencoder import TextVAEModel
from textvae.pipeline.codec import Codec
from textvae.pipeline.draws import finite_draws

PRIOR_FILE = "prior.safetensors"
PRIORS = ("fitted", "standard")


def fit_prior(codec: Codec, read: InferenceBatches) -> GaussianPrior:
    """The Gaussian with the mean and the covariance of the aggregate posterior of these texts.

    Raises:
        InputError: if the model has no z, or there is no text.
    """
    if codec.model.config.is_language_model:
        raise InputError("A model without z (latent_injection none) has no prior to fit: leave it out.")
    mean, stddev = codec.posteriors(read)
    return GaussianPrior.fit(mean, stddev, read.label_ids, max(1, len(codec.model.config.label_names)))


def check_prior(prior: GaussianPrior | None, model: TextVAEModel) -> None:
    """Raises InputError if this is no prior, or of another latent size or number of labels than the model's."""
    if prior is None:
        return
    if not isinstance(prior, GaussianPrior):
        raise InputError(f"prior is of type {type(prior).__name__}: give a GaussianPrior, or leave it out.")
    labels, size = max(1, len(model.config.label_names)), model.config.latent_size
    if prior.mean.shape != (labels, size):
        raise InputError(
            f"The prior is of {prior.mean.shape[1]} dimensions and {prior.mean.shape[0]} labels, and the model of "
            f"{size} and {labels} (1 for none): fit one with TextVAEPipeline.fit_prior."
        )


def draw_latents(
    codec: Codec, fitted: GaussianPrior | None, name: str | None, ids: list[int] | None, count: int, temperature: float
) -> Tensor:
    """`count` z (N, Z) from the prior of this name, or for None from the fitted one where there is one.

    Raises:
        InputError: if there is no such prior, or the temperature makes a z too large.
    """
    if name not in (None, *PRIORS):
        raise InputError(f"prior must be 'fitted' or 'standard', not {shown(name)}.")
    if name == "fitted" and fitted is None:
        raise InputError("This model has no fitted prior: fit one with TextVAEPipeline.fit_prior, or give 'standard'.")
    noise = codec.draws.noise(count, codec.model.config.latent_size)
    if fitted is not None and name != "standard":
        return finite_draws(fitted.draw(noise, ids, temperature), temperature)
    mean, stddev = codec.prior(ids)
    return finite_draws(mean + temperature * stddev * noise, temperature)
