"""The training objective: its terms, schedules of β, and controllers of β. Pure functions of tensors, in nats.

A new term, schedule or controller goes here. The theory:

1. A text x = x₁…x_T (x_T is EOS) has a latent vector z ∈ ℝᶻ with the prior p(z) = N(0, I).
2. The decoder gives p(x|z) = Π_t p(x_t | x_<t, z). z enters it as soft tokens in front (`latent_injection` prefix), in
   its input embeddings (embedding), or in the states that its softmax reads (output; Dieng et al. 2019).
3. The encoder gives q(z|x) = N(μ(x), diag σ²(x)), with log σ² clamped, and z = μ + σ·ε.
4. log p(x) ≥ ELBO(x) = E_q[log p(x|z)] − KL(q(z|x) ‖ p(z)), with KL = ½ Σ_d (μ_d² + σ_d² − 1 − log σ_d²).
5. Training minimises at step s: mean_x[−log p(x|z)] + β(s) · Σ_d max(λ, mean_x KL_d). Terms are summed over tokens and
   dimensions and averaged over texts.
6. β(s) is constant, linear, logistic, cosine or cyclical, with an optional phase at 0. λ is `free_bits` per dimension;
   `free_bits_mode: text` takes the maximum for each text.
7. β = 1 and λ = 0 train the true ELBO. A smaller β gives a higher KL: z describes the text more closely, and the bound
   is looser.
8. `output.loss` and `negative_elbo` of a report are always the true −ELBO. Only the training loop uses β and λ.
9. `iw_nll` is −log 1/K Σ_k p(x|z_k) p(z_k) / q(z_k|x) with z_k ~ q(z|x): an upper bound on −log p(x), in expectation
   tighter than the −ELBO (Burda et al. 2016).
10. `shuffle_gap` is what reconstruction loses when z comes from another text. 0 means that the decoder ignores z.

Techniques against posterior collapse, with R = −log p(x|z). Each is a setting, and they combine:

- `kl_schedule`, `kl_warmup`, `kl_zero_phase`, `kl_num_cycles`: loss R + β(step) · KL, where β rises to `beta` (Bowman
  et al. 2016; cyclical: Fu et al. 2019; zero phase: Optimus, Li et al. 2020).
- `free_bits` λ, `free_bits_mode` batch or text: R + β · Σ_d max(λ, KL_d), for the mean of the batch or for each text
  (Kingma et al. 2016; Li et al. 2019).
- `kl_target` C, `kl_controller: pi`: β = K_p / (1 + exp(C − KL)) − K_i · Σ(C − KL), from 0 to `beta`: the KL settles
  at C (ControlVAE, Shao et al. 2020). A run that misses its target says so at the end, with the KL that it reached.
- `kl_target` C, `kl_controller: mdr`: min max_λ R + β · KL + λ(C − KL), λ ≥ 0: the KL does not stay below C
  (Pelsmaeker & Aziz 2020).
- `mean_batch_norm` γ: the means of a batch are normalised to standard deviation γ: E[KL] ≥ Z · γ²/2 (BN-VAE, Zhu et
  al. 2020).
- `committed_rate` δ: σ is kept so small that KL_d ≥ δ in each dimension (δ-VAE, Razavi et al. 2019).
- `aggressive_encoder`: before each step, steps of the encoder alone until its loss stops falling; this ends when the
  validation MI stops rising (He et al. 2019).
- `kl_zero_phase` with `kl_reset_decoder`: first an autoencoder (β = 0), then a new decoder; with `cyclical` a new
  decoder in each cycle (Li et al. 2019).
- `word_dropout` p: each input word of the decoder is masked with probability p (Bowman et al. 2016).
- `noise_drop`, `noise_mask`, `noise_substitute`, `noise_shuffle`, `noise_typos`: the encoder reads a corrupted text
  (DAAE, Shen et al. 2020).
- `bag_of_words_weight` w: + w · −Σ_t log softmax(W tanh(V z))_{x_t}: z alone predicts the words (kgCVAE, Zhao et al.
  2017).
- `mmd_weight` w: + w · MMD(q(z), p(z)); with `beta` = 1 − α and w = α + λ − 1 this is the InfoVAE (Zhao et al. 2017).
- `teacher` with `teacher_weight` w: + w · mean_ij (cos(μ_i, μ_j) − cos(e_i, e_j))²: the means keep the similarities
  that a pretrained sentence encoder sees in the texts of a batch, of each process (Tung & Mori 2019, there on the
  activations of two networks).
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
    similarity_difference,
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
    "similarity_difference",
]
