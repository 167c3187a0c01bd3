"""What a text VAE is judged by: likelihood bounds, information in z, reconstruction.

A new measure goes here. The values of a report, in nats per text unless it says otherwise:

- `negative_elbo`: −ELBO with 1 sample of z, the sum of the next two.
- `reconstruction`: −log p(x|z), the distortion, summed over tokens. EOS is counted, BOS is not.
- `kl`: KL(q(z|x) ‖ p(z)), the rate, summed over dimensions.
- `iw_nll`: the importance-weighted upper bound on −log p(x), of K = `num_importance_samples` samples, on
  `num_importance_texts` texts (Burda et al. 2016). Exact for a language model (`latent_injection` none).
- `fitted_negative_elbo`, `fitted_kl`, `fitted_iw_nll`: the same bounds with the Gaussian that training fits to the
  aggregate posterior as the prior ([`textvae.latents.GaussianPrior`]): those of another model with the same weights.
- `perplexity_token`, `perplexity_word`: exp(nats / count) from `iw_nll`, EOS counted. In a script without spaces, such
  as Chinese, a word is a character. Per-token values compare only models with the same tokenizer.
- `mutual_information`: I(x; z) with the aggregated posterior of all N texts, at most ln N.
  `minibatch_mutual_information` is the estimate in batches of 32, only for comparison with papers that report it.
- `active_units`: dimensions with Var(E[z|x]) ≥ 0.01.
- `shuffle_gap`: what z is worth, the nats that reconstruction loses when each text is decoded from the z of another. 0
  means posterior collapse.
- `exact_match`, `bleu`: share of texts written back exactly, and corpus BLEU; greedy, from the posterior mean. Both
  compare with the text as it was given, whatever the tokenizer changes or cuts; for a word tokenizer, with its words.
- `distinct_samples`: share of 100 prior samples that differ.
- `<name>_standard_error`: over the texts. `num_unknown`: tokens that the tokenizer does not know.

For pairs, all values about a decoded text are those of the target. With labels, the KL is that of q(z|x, c) from
p(z|c), and `iw_nll` bounds −log p(x|c); mutual information and active units also count what z says about the label,
and `shuffle_gap` shuffles z among texts of one label.

    accelerate launch recipes/evaluate.py runs/chitchat --file mine.txt --output scores.json

The output is tried before any work. An evaluation that was interrupted goes on with the same command; until it is
finished its values are in `scores.json.partial`. `--mixed_precision bf16` is faster, and its bounds are those of the
model as it computes in bf16.

The baseline of a VAE is the same decoder without z, `--latent_injection none`, trained and measured by the same
recipes.
"""

from textvae.evaluation.evaluate import PRECISIONS, STANDARD_ERROR, evaluate
from textvae.evaluation.likelihood import importance_weighted_nll

__all__ = ["PRECISIONS", "STANDARD_ERROR", "evaluate", "importance_weighted_nll"]
