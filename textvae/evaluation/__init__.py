"""What a text VAE is judged by: likelihood bounds, information in z, reconstruction.

A measure that needs ground truth goes here.
"""

from textvae.evaluation.evaluate import PRECISIONS, STANDARD_ERROR, evaluate
from textvae.evaluation.likelihood import importance_weighted_nll

__all__ = ["PRECISIONS", "STANDARD_ERROR", "evaluate", "importance_weighted_nll"]
