"""The priors that a pipeline draws from: fitted to the z of texts, each in a file beside the model; or the model's own.

N texts · Z latent_size
"""

import logging
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from textvae.config_fields import nearest
from textvae.data.inference_batches import InferenceBatches
from textvae.errors import InputError, shown
from textvae.files import check_directory, whole_files
from textvae.latents.flow import FlowPrior
from textvae.latents.mixture import MixturePrior
from textvae.latents.priors import GaussianPrior, Prior
from textvae.modeling.autoencoder import TextVAEModel
from textvae.modeling.weight_files import add_checksum
from textvae.pipeline.codec import Codec
from textvae.pipeline.draws import finite_draws

logger = logging.getLogger(__name__)

USUAL = "gaussian"  # what training fits, and `sample` draws from
STANDARD = "standard"  # the model's own
KINDS = {USUAL: GaussianPrior, "mixture": MixturePrior, "flow": FlowPrior}
PRIOR_FILES = {USUAL: "prior.safetensors", "mixture": "prior_mixture.safetensors", "flow": "prior_flow.safetensors"}
PRIORS = (*KINDS, STANDARD)


def fit_prior(codec: Codec, read: InferenceBatches, name: str = USUAL, seed: int = 0) -> Prior:
    """A prior of this kind, fitted to the aggregate posterior of these texts.

    Raises:
        InputError: if there is no such kind, the model has no z, there are too few texts, or an extra is missing.
    """
    check_fit(codec, name)
    if len(read.lengths) < codec.model.config.latent_size:
        logger.warning(
            "The prior is fitted to %d texts, fewer than the %d dimensions of z: samples will be like these texts",
            len(read.lengths),
            codec.model.config.latent_size,
        )
    posteriors = (*codec.posteriors(read), read.label_ids, max(1, len(codec.model.config.label_names)))
    if name == USUAL:
        return GaussianPrior.fit(*posteriors)
    if name == "mixture":
        return MixturePrior.fit(*posteriors, seed)
    return FlowPrior.fit(*posteriors, seed, codec.progress)


def check_fit(codec: Codec, name: str) -> None:
    """Raises InputError if no prior of this name can be fitted, or none to this model."""
    check_kind(name)
    codec.check_has_z("has no prior to fit: leave it out.")


def check_kind(name: str) -> None:
    """Raises InputError if no prior of this name can be fitted."""
    if name not in KINDS:
        raise InputError(f"There is no prior {shown(name)} to fit; did you mean {nearest(str(name), KINDS)!r}?")


def check_priors(priors: Mapping[str, Prior], model: TextVAEModel) -> None:
    """Raises InputError if one is no prior, under another name, or of another latent size or number of labels."""
    for name, prior in priors.items():
        check_kind(name)
        if not isinstance(prior, KINDS[name]):
            raise InputError(f"The prior {name!r} is of type {type(prior).__name__}: give a {KINDS[name].__name__}.")
        own = max(1, len(model.config.label_names)), model.config.latent_size
        if prior.shape != own:
            raise InputError(
                f"The prior {name!r} is of {prior.shape[1]} dimensions and {prior.shape[0]} labels, and the model of "
                f"{own[1]} and {own[0]} (1 for none): fit one with TextVAEPipeline.fit_prior."
            )


def prior_of(priors: Mapping[str, Prior], name: str | None) -> Prior | None:
    """The fitted prior of this name, or for None the Gaussian; None for N(0, I), or where no Gaussian was fitted.

    Raises:
        InputError: if there is no prior of this name (the message has the nearest one), or it was not fitted.
    """
    if name is None or name == STANDARD:
        return None if name else priors.get(USUAL)
    if name not in PRIORS:
        raise InputError(f"There is no prior {shown(name)}; did you mean {nearest(str(name), PRIORS)!r}?")
    if name not in priors:
        raise InputError(
            f"This model has no fitted {name}: fit one with TextVAEPipeline.fit_prior(texts, {name!r}) or `textvae "
            "fit_prior`."
        )
    return priors[name]


def draw_latents(codec: Codec, prior: Prior | None, ids: list[int] | None, count: int, temperature: float) -> Tensor:
    """`count` z (N, Z) from this prior, or for None from the model's own.

    Raises:
        InputError: if the temperature makes a z too large.
    """
    noise = codec.draws.noise(count, codec.model.config.latent_size)
    if prior is not None:
        return finite_draws(prior.draw(noise, ids, temperature), temperature)
    mean, stddev = codec.prior(ids)
    return finite_draws(mean + temperature * stddev * noise, temperature)


def save_prior(directory: str | Path, name: str, prior: Prior) -> None:
    """Write one prior beside a saved model, with a checksum; raises OSError if that cannot be done."""
    check_directory(Path(directory))
    with whole_files(directory) as place:
        prior.save(place / PRIOR_FILES[name])
        add_checksum(place / PRIOR_FILES[name])
