"""The training objective: its terms, schedules of β, and controllers of β.

Pure functions of tensors, in nats. A new term, schedule or controller goes here.
"""

from textvae.objectives.controllers import RateController
from textvae.objectives.schedules import KLSchedule
from textvae.objectives.terms import (
    free_bits_kl,
    importance_weighted_bound,
    logvar_of_rate,
    maximum_mean_discrepancy,
    negative_elbo,
    normal_kl,
    normal_log_density,
    reparameterize,
    standard_normal_log_density,
)

__all__ = [
    "KLSchedule",
    "RateController",
    "free_bits_kl",
    "importance_weighted_bound",
    "logvar_of_rate",
    "maximum_mean_discrepancy",
    "negative_elbo",
    "normal_kl",
    "normal_log_density",
    "reparameterize",
    "standard_normal_log_density",
]
