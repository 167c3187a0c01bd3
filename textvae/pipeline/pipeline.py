"""TextVAEPipeline: text in, text out. A model and its tokenizers, in one directory.

N texts · Z latent_size · K samples
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast, overload

import torch
from datasets import Dataset
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from textvae.config_fields import COUNT, NOT_NEGATIVE, SEED, flag, number, whole
from textvae.data.gaps import GAP
from textvae.data.given import Table
from textvae.data.inference_batches import InferenceBatches
from textvae.data.tokenize import tokenize_corpus
from textvae.data.tokenizer_pair import load_tokenizers
from textvae.evaluation.config import EvaluationConfig
from textvae.evaluation.evaluate import evaluate, one_config
from textvae.latents.directions import Directions
from textvae.latents.maps import PCAMap, UMAPMap
from textvae.latents.priors import GaussianPrior, Prior
from textvae.modeling.autoencoder import TextVAEModel
from textvae.modeling.load import load_model
from textvae.modeling.pretrained import named_errors
from textvae.pipeline.chunks import in_chunks
from textvae.pipeline.codec import Codec, Written
from textvae.pipeline.codes import ScoredWritten, decode, encode
from textvae.pipeline.controls import with_beams
from textvae.pipeline.denoise import denoise
from textvae.pipeline.detect import DEFAULT_SCORES, Detection, detect, fit_detector
from textvae.pipeline.detector import Detector
from textvae.pipeline.directions import fit_direction
from textvae.pipeline.edit import analogy, edit, traverse
from textvae.pipeline.fitted import Fitted
from textvae.pipeline.hub import push
from textvae.pipeline.infill import as_infilling, infill
from textvae.pipeline.inputs import Label, Latents, Texts, as_dataset
from textvae.pipeline.paraphrase import Paraphrases, as_search, find_paraphrases, without_scores
from textvae.pipeline.parts import check_max_length, check_parts, describe, usable_device, usable_dtype
from textvae.pipeline.priors import USUAL, check_fit, draw_latents, fit_prior, prior_of
from textvae.pipeline.ranking import Reranker, as_ranking
from textvae.pipeline.saving import save, save_merged
from textvae.pipeline.score import TextTerms, score
from textvae.pipeline.text_index import Corpus, Neighbour, TextIndex, find_neighbours, make_index
from textvae.pipeline.text_map import TextMap, make_map
from textvae.pipeline.walk import walk
from textvae.processes import best_device, main_first


class TextVAEPipeline:
    """A text VAE that reads and writes strings.

    Verbs that read texts take one and give one result, or take a list and give a list in the same order ([] for []).
    `encode`, `decode`, `reconstruct`, `paraphrase`, `edit`, `score` and `detect` also take an iterator, such as a
    generator or an open file, and give an iterator of the same results. It reads a batch, then 16 at a time, as they
    are asked for, so that memory stays flat. The verbs share these arguments:

    - `batch_size`: texts in the model at a time. The noise that z is made of does not depend on it.
    - `seed`: makes a call reproducible and leaves torch's random state alone. Without it, torch's own state is used.
      With `do_sample=True` words are drawn too, and the result also depends on `batch_size`.
    - `progress`: show a bar if there are more than a few batches.
    - `generation_kwargs`: the decoding controls of Hugging Face's `generate`: `num_beams`, `do_sample`, `top_p`,
      `repetition_penalty`, `num_return_sequences`, a whole `generation_config`, … By default `sample`, `paraphrase` and
      `denoise` use 4 beams, and the others decode greedily; a text has at most `max_length` tokens.
    - `num_candidates`, beside them: for each z so many texts are written, by beams or `do_sample`, and the one whose
      own posterior mean is nearest to the z is kept. Not for a model of pairs, whose encoder cannot read them.
    - `label`: only for a model with labels, which needs it: one name for all texts, or a list of one for each. Style
      transfer is `decode(encode(texts, label="negative"), label="positive")`.

    A text of more than `max_length` tokens is cut, and a log message counts such texts. An argument that cannot be used
    raises InputError before any work is done. Threads may share a pipeline.
    """

    def __init__(
        self,
        model: TextVAEModel,
        tokenizer: PreTrainedTokenizerBase,
        max_length: int | None = None,
        encoder_tokenizer: PreTrainedTokenizerBase | None = None,
        priors: Mapping[str, Prior] | None = None,
        directions: Directions | None = None,
        detector: Detector | None = None,
    ):
        """Put the model in evaluation mode.

        Args:
            tokenizer: the decoder's; the encoder's, too, unless `encoder_tokenizer` is given.
            max_length: kept in the tokenizers; if not given, the one that the tokenizer has, or 64.
            priors: what `fit_prior` has fitted, by name; `sample` draws from them.
            directions: what `fit_direction` has fitted; `edit` moves along them.
            detector: what `fit_detector` has fitted; `detect` asks it.

        Raises:
            InputError: if `max_length` is below 2 or too long for the model, or it was built for another tokenizer.
        """
        tokenizers = check_parts(model, tokenizer, encoder_tokenizer)
        length = tokenizers.usual_length if max_length is None else check_max_length(max_length, model)
        self.model, self.tokenizers = model.eval(), tokenizers.limit(length)
        self.priors, self.directions, self.detector = dict(priors or {}), directions, detector
        self._fitted.check(self.model)

    def __repr__(self) -> str:
        return f"TextVAEPipeline({describe(self.model, self.tokenizers)})"

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The decoder's tokenizer."""
        return self.tokenizers.decoder

    @property
    def encoder_tokenizer(self) -> PreTrainedTokenizerBase | None:
        """The encoder's tokenizer, if it has its own."""
        return self.tokenizers.encoder

    @property
    def max_length(self) -> int:
        """The longest text in tokens of either side, EOS included."""
        return self.tokenizers.max_length

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.device

    def to(self, device: str | int | torch.device) -> "TextVAEPipeline":
        """Move the model to this device, and return the pipeline; raises InputError if there is no such device."""
        self.model.to(usable_device(device))  # pyright: ignore[reportArgumentType]
        return self

    # directories

    @classmethod
    def from_pretrained(
        cls, name_or_path: str | Path, device: str | torch.device | None = None, dtype: str | torch.dtype = "auto"
    ) -> "TextVAEPipeline":
        """Open a directory written by `save_pretrained`, or a model on the Hub.

        Args:
            device: if not given, a GPU (CUDA, then Apple's) if there is one, else the CPU.
            dtype: of the weights; "auto" keeps the one they were saved in.

        Raises: InputError if there is no such text VAE or device, or the weights are corrupt or incomplete.
        """
        device, dtype = usable_device(best_device() if device is None else device), usable_dtype(dtype)
        name = str(name_or_path)
        model, tokenizers = load_model(name, dtype), load_tokenizers(name)
        with named_errors(name, "text VAE", "copy or save all its files again, together"):
            return cls(model, tokenizers.decoder, None, tokenizers.encoder, *Fitted.load(name)).to(device)

    def save_pretrained(self, path: str | Path) -> None:
        """Write model (safetensors), what was fitted, and tokenizer, which `AutoModel` and `AutoTokenizer` open, too.

        The encoder's own tokenizer, if it has one, is in `encoder_tokenizer/`. Frozen weights of a base model are not
        written; `base` in config.json says where they are. See [`textvae.pipeline.saving.save`].
        """
        save(self.model, self.tokenizers, path, self._fitted)

    def merge_and_save(self, path: str | Path) -> None:
        """Write all weights in fp32, adapters merged, so that neither base model nor peft is needed to open them."""
        save_merged(self.model, self.tokenizers, path, self._fitted)

    def push_to_hub(self, repo_id: str, private: bool | None = None, token: str | None = None) -> None:
        """Upload what `save_pretrained` writes, and model card and metrics; see [`textvae.pipeline.hub.push`]."""
        push(self.save_pretrained, self.model.config.name_or_path, repo_id, private, token)

    # text → z → text

    @overload
    def encode(self, texts: Iterator[str], *args: Any, **options: Any) -> Iterator[Any]: ...

    @overload
    def encode(
        self,
        texts: Texts,
        sample: bool = False,
        seed: int | None = None,
        batch_size: int = 64,
        progress: bool = True,
        label: Label = None,
        *,
        return_std: Literal[True],
    ) -> tuple[Tensor, Tensor]: ...

    @overload
    def encode(
        self,
        texts: Texts,
        sample: bool = False,
        seed: int | None = None,
        batch_size: int = 64,
        progress: bool = True,
        label: Label = None,
        return_std: Literal[False] = False,
    ) -> Tensor: ...

    def encode(
        self,
        texts: Texts,
        sample: bool = False,
        seed: int | None = None,
        batch_size: int = 64,
        progress: bool = True,
        label: Label = None,
        return_std: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor] | Iterator[Any]:
        """z of each text, (N, Z) or (Z,) for one: the mean of q(z|x), or one draw of it if `sample`; on the CPU.

        Args:
            return_std: give a pair: z, and the standard deviations of q(z|x) in each dimension, of the same shape.
        """
        codec = self._codec(batch_size, progress, seed)
        return encode(codec, texts, label, flag("sample", sample), flag("return_std", return_std))

    def decode(
        self,
        latents: Latents | Iterator,
        seed: int | None = None,
        batch_size: int = 64,
        progress: bool = True,
        label: Label = None,
        return_scores: bool = False,
        **generation_kwargs,
    ) -> Written | ScoredWritten | Iterator[Any]:
        """The text of each z (N, Z), or of one (Z,); a list of texts for each if `num_return_sequences` is above 1.

        Args:
            latents: a tensor, an array, or a list of numbers, of tensors or of arrays.
            return_scores: give (text, log p(x|z)) in place of each text x, in nats. The text is tokenized and cut as
                `score` does, so this is minus its reconstruction term with this z.

        Raises:
            InputError: if Z is not the model's `latent_size`, or a z is not finite or too large to compute with.
        """
        codec = self._codec(batch_size, progress, seed, generation_kwargs)
        return decode(codec, latents, label, flag("return_scores", return_scores))

    def reconstruct(
        self,
        texts: Texts,
        seed: int | None = None,
        batch_size: int = 64,
        progress: bool = True,
        label: Label = None,
        **generation_kwargs,
    ) -> Written | Iterator[Any]:
        """Write each text back from the mean of its q(z|x); a list for each if `num_return_sequences` is above 1."""
        codec = self._codec(batch_size, progress, seed, generation_kwargs)
        return in_chunks(codec, texts, label, codec.rewrite)

    def sample(
        self,
        num_samples: int = 1,
        temperature: float = 1.0,
        seed: int | None = None,
        batch_size: int = 64,
        progress: bool = True,
        label: Label = None,
        prior: str | None = None,
        **generation_kwargs,
    ) -> Written:
        """Write texts from a prior, by default the Gaussian that training fits: z = mean + temperature · scale · ε.

        Args:
            label: a list has `num_samples` of them.
            temperature: of z; that of words goes into a `generation_config`. A mixture has it in each component, and a
                flow at the noise that it starts from.
            prior: `gaussian`, the default if there is one, `mixture` or `flow`, see `fit_prior`; or `standard`, which
                is N(0, I), with labels p(z|c).

        Raises:
            InputError: if `num_samples` is below 1, there is no such prior, it was not fitted, or `temperature` makes z
                too large.
        """
        codec = self._codec(batch_size, progress, seed, with_beams(generation_kwargs, self.model))
        num_samples = whole("num_samples", num_samples, COUNT)
        temperature = number("temperature", temperature, NOT_NEGATIVE)
        ids, chosen = codec.label_ids(label, num_samples), prior_of(self.priors, prior)
        return codec.write(draw_latents(codec, chosen, ids, num_samples, temperature), ids)

    def fit_prior(
        self,
        texts: Texts,
        name: str = USUAL,
        seed: int = 0,
        batch_size: int = 64,
        progress: bool = True,
        label: Label = None,
    ) -> None:
        """Fit a prior of `sample` to the z of these texts, and keep it by its name; another of the name is replaced.

        Args:
            name: `gaussian`, as training fits it; `mixture` of Gaussians (needs scikit-learn) or `flow` (needs zuko),
                which take a minute or two for 10,000 texts: see [`textvae.latents`].
            seed: of a mixture or a flow.

        Raises:
            InputError: if there is no such prior, no text or too few, or an extra is missing.
        """
        codec, seed = self._codec(batch_size, progress, None), whole("seed", seed, SEED)
        check_fit(codec, name)
        self.priors[name] = fit_prior(codec, codec.read(texts, label)[0], name, seed)

    def denoise(
        self,
        texts: Texts,
        closeness: float = 2.0,
        seed: int | None = None,
        batch_size: int = 64,
        progress: bool = True,
        label: Label = None,
        **generation_kwargs,
    ) -> Written | Iterator[Any]:
        """Write each noisy text clean, by 4 beams: typing errors, words that are lost, replaced or in another order.

        The model should have been trained with noise (`noise_typos`, `noise_drop`, …); one that was not is used all the
        same, and a log message says so. A word `___` is one that is known to be missing.

        Args:
            closeness: weight of the words of the noisy text, see [`textvae.pipeline.denoise`]; at 0 a text is written
                from its z alone.

        Raises:
            InputError: if `closeness` is negative.
        """
        controls = with_beams(generation_kwargs, self.model)
        codec = self._codec(batch_size, progress, seed, {"length_penalty": 0.0} | controls)
        return denoise(codec, texts, closeness, label)

    def interpolate(
        self,
        start: Texts,
        end: Texts,
        num_steps: int = 7,
        path: str = "linear",
        seed: int | None = None,
        batch_size: int = 64,
        progress: bool = True,
        label: Label = None,
        dedupe: bool = False,
        **generation_kwargs,
    ) -> Written:
        """Write the texts on the path from one text to another; the first and the last are their reconstructions.

        Args:
            start, end: two texts, or two lists of them for as many paths.
            path: `linear` or `spherical`, see [`textvae.latents.interpolate`].
            label: of a path and both its ends.
            dedupe: leave out each text that is the same as the one before it; a path may then have fewer texts.

        Returns: `num_steps` texts, or a list of them for each path.

        Raises:
            InputError: if `num_steps` is below 2, the path is unknown, or the two lists differ in length.
        """
        codec = self._codec(batch_size, progress, seed, generation_kwargs)
        return walk(codec, start, end, num_steps, path, label, dedupe)

    def paraphrase(
        self,
        texts: Texts,
        num_return_sequences: int = 5,
        temperature: float = 1.0,
        num_candidates: int | None = None,
        seed: int | None = None,
        batch_size: int = 64,
        progress: bool = True,
        label: Label = None,
        min_distance: int = 1,
        reranker: Reranker | str | Path | None = None,
        return_scores: bool = False,
        diversity: float = 0.0,
        **generation_kwargs,
    ) -> Paraphrases | Iterator[Any]:
        """Write other texts near each text, the best first.

        z = mean + temperature · std · ε is drawn from q(z|x) and written. Copies of the text and duplicates are
        dropped; case, spaces and the punctuation around words do not count, unless the tokenizer was trained with
        `normalization` none, which says that every character does. The others are ranked by what the decoder, told z of
        the text, thinks of them, and by how near to the text they are read: the score is in nats, see
        [`textvae.pipeline.ranking.by_model`]. For texts with too few, more are drawn at 1.5 times the temperature, in
        at most 4 rounds; so there may be fewer than asked for, or none.

        Args:
            num_candidates: z for each text in a round; four times `num_return_sequences` if not given.
            min_distance: the least number of words to insert, delete or replace; a text that is nearer is dropped.
            reranker: scores the candidates in place of the model, the best highest: a function of the texts and of a
                list of candidates for each, which returns a list of numbers for each; or a sentence encoder, by path or
                Hub name, whose scores are cosines with the text.
            return_scores: give (text, score) in place of each text.
            diversity: from 0, where the scores alone choose, to 1, where those that share the fewest words with the
                ones before are chosen; see [`textvae.pipeline.ranking.diverse`].

        Returns: up to `num_return_sequences` texts, or a list of them for each text.

        Raises:
            InputError: if a number is below 1, `temperature` is negative or makes z too large, `diversity` is not from
                0 to 1, or the reranker or its scores cannot be used.
        """
        controls = with_beams(generation_kwargs, self.model)
        codec = self._codec(batch_size, progress, seed, controls | {"num_return_sequences": 1})
        search = as_search(num_return_sequences, num_candidates, temperature, min_distance, diversity)
        return_scores, ranking = flag("return_scores", return_scores), as_ranking(reranker, self.device)

        def found(read: InferenceBatches) -> list:
            scored = find_paraphrases(codec, read, search, ranking)
            return scored if return_scores else without_scores(scored)

        return in_chunks(codec, texts, label, found)

    def infill(
        self,
        texts: Texts,
        num_return_sequences: int = 5,
        marker: str = GAP,
        max_gap_tokens: int = 8,
        allow_empty: bool = False,
        num_rounds: int = 2,
        num_latents: int = 2,
        num_beams: int = 8,
        batch_size: int = 64,
        progress: bool = True,
        label: Label = None,
        return_scores: bool = False,
    ) -> Paraphrases | Iterator[Any]:
        """Write the missing words of texts such as "the ___ sat on the ___", the best first; all given words stay.

        Beams fill the gaps under a z halfway from the prior's mean to the posterior mean: that of what is given in the
        first round, those of the best texts so far in each further one. Nothing is drawn. See
        [`textvae.pipeline.gap_search`].

        Args:
            marker: stands for a gap of one word or several. Between letters ("un___able") it is a part of a word.
            max_gap_tokens: the most tokens in a gap.
            allow_empty: whether a gap may stay empty.
            num_rounds: how often the gaps are filled.
            num_latents: best texts whose z are taken in a further round.
            num_beams: of the search, for each z.
            return_scores: give (text, score) in place of each text: log p(x|z) − KL(q(z|x) ‖ p(z)) in nats, from the
                posterior mean of the filled text.

        Returns: up to `num_return_sequences` texts, all different, or a list of them for each text.

        Raises:
            InputError: if a text has no gap, no word beside its gaps, or no room for a token in each; if the marker is
                blank, or a number below 1.
        """
        codec, return_scores = self._codec(batch_size, progress, seed=None), flag("return_scores", return_scores)
        settings = as_infilling(
            num_return_sequences, marker, max_gap_tokens, allow_empty, num_rounds, num_latents, num_beams
        )
        return infill(codec, texts, settings, return_scores, label)

    # z moved

    def fit_direction(
        self,
        name: str,
        positive: Texts | Table | Dataset,
        negative: Texts | None = None,
        method: str = "mean",
        batch_size: int = 64,
        progress: bool = True,
        label: Label = None,
    ) -> None:
        """Fit the direction of z from negative to positive texts, and keep it under this name for `edit`.

        Args:
            positive, negative: lists of texts; or one table with the columns `text` and `label`, where texts with the
                label `name` are positive, and all others negative.
            method: `mean` or `logistic` (needs scikit-learn), see [`textvae.latents.directions.fit_step`]. Both leave
                out what goes with the length of a text.
            label: for a model with labels; a list has one for each text, those of positive ones first.

        Raises:
            InputError: if one class has no texts, there are fewer texts than dimensions, the classes do not differ, or
                the name has other characters than letters and digits of ASCII, `_`, `-` and `.`.
        """
        codec = self._codec(batch_size, progress, None)
        self.directions = fit_direction(codec, self.directions, name, positive, negative, method, label)

    def edit(
        self,
        texts: Texts,
        name: str,
        strength: float = 1.0,
        seed: int | None = None,
        batch_size: int = 64,
        progress: bool = True,
        label: Label = None,
        **generation_kwargs,
    ) -> Written | Iterator[Any]:
        """Write each text with z moved along a fitted direction.

        Args:
            name: of a direction, see `fit_direction`.
            strength: 1 is the distance between the means of the two classes; 0 gives what `reconstruct` writes; below 0
                a text is moved to the negative class.

        Raises:
            InputError: if there is no such direction, or `strength` is not finite or makes z too large.
        """
        codec = self._codec(batch_size, progress, seed, generation_kwargs)
        return edit(codec, self.directions, texts, name, strength, label)

    def analogy(
        self,
        a: Texts,
        b: Texts,
        c: Texts,
        seed: int | None = None,
        batch_size: int = 64,
        progress: bool = True,
        label: Label = None,
        **generation_kwargs,
    ) -> Written:
        """a is to b as c is to …: write z(c) + z(b) − z(a) (Mikolov et al. 2013; Shen et al. 2020, section 5.3).

        Args:
            a, b, c: three texts, or three lists of the same length.
            label: of all three, and of what is written.

        Raises:
            InputError: if the lists differ in length.
        """
        codec = self._codec(batch_size, progress, seed, generation_kwargs)
        return analogy(codec, a, b, c, label)

    def traverse(
        self,
        texts: Texts,
        dimension: int,
        num_steps: int = 7,
        reach: float = 3.0,
        seed: int | None = None,
        batch_size: int = 64,
        progress: bool = True,
        label: Label = None,
        axes: str = "dimensions",
        **generation_kwargs,
    ) -> Written | Iterator[Any]:
        """Write each text with one dimension of its posterior mean moved in equal steps; the others stay.

        Args:
            dimension: from 0 to `latent_size` − 1.
            num_steps: of an odd number the text in the middle is what `reconstruct` writes.
            reach: the dimension moves by −reach to +reach; in the prior N(0, I) its standard deviation is 1.
            axes: `dimensions` of z; or `principal`, the principal axes of the fitted prior, from 0, along which z of
                texts vary most. These move by −reach to +reach standard deviations.

        Returns: `num_steps` texts, or a list of them for each text.

        Raises:
            InputError: if there is no such dimension, `num_steps` is below 2, `reach` is not above 0 or too large, or
                there is no fitted prior for principal axes.
        """
        codec = self._codec(batch_size, progress, seed, generation_kwargs)
        prior = cast("GaussianPrior | None", self.priors.get(USUAL))
        return traverse(codec, prior, texts, dimension, num_steps, reach, axes, label)

    def score(
        self,
        texts: Texts,
        num_samples: int = 100,
        seed: int | None = 0,
        batch_size: int = 64,
        progress: bool = True,
        label: Label = None,
        return_terms: bool = False,
        return_tokens: bool = False,
    ) -> list[float] | float | list[TextTerms] | TextTerms | Iterator[Any]:
        """Upper bound on -log p(x) of each text in nats: the lower, the more usual (Burda et al. 2016, eq. 8).

        With labels it bounds -log p(x|c): the label that fits a text best has the lowest score.

        It grows with the length of a text. All texts share the same K draws of noise, so that no score depends on the
        other texts; for the likelihood of a dataset independent draws are better, see [`evaluate`].

        Args:
            return_terms, return_tokens: give a [`textvae.pipeline.TextTerms`] of each text, with its tokens if
                `return_tokens`, instead of the bound alone.

        Returns: nats of each text; one number for one string. Raises InputError if `num_samples` is below 1.
        """
        codec, num_samples = self._codec(batch_size, progress, seed), whole("num_samples", num_samples, COUNT)
        return_tokens, has_terms = flag("return_tokens", return_tokens), flag("return_terms", return_terms)
        return score(codec, texts, label, num_samples, has_terms or return_tokens, return_tokens)

    def fit_detector(
        self,
        normal_texts: Texts,
        held_out: Texts | None = None,
        score: str | Sequence[str] = DEFAULT_SCORES,
        batch_size: int = 64,
        progress: bool = True,
        label: Label = None,
    ) -> None:
        """Learn from normal texts what `detect` needs; `save_pretrained` keeps it beside the model.

        Args:
            normal_texts: distances are from these, at most 20,000 of them.
            held_out: normal texts that neither `normal_texts` nor the training of the model contains; p-values are
                from these, at most 2,000. If not given, a fifth of `normal_texts`: then these should be new to the
                model, or p-values are too small.
            score: one of [`textvae.pipeline.SCORES`], or several, which are combined by their p-values.
            label: a list has one for each of the normal texts, and then for each of the held-out ones.

        Raises:
            InputError: if a score is unknown, or there are fewer texts than it needs.
        """
        codec = self._codec(batch_size, progress, seed=None)
        self.detector = fit_detector(codec, normal_texts, held_out, score, label)

    def detect(
        self, texts: Texts, num_tokens: int = 3, batch_size: int = 64, progress: bool = True, label: Label = None
    ) -> list[Detection] | Detection | Iterator[Detection]:
        """How unusual each text is beside the normal ones of `fit_detector`: a [`textvae.pipeline.Detection`].

        Args:
            num_tokens: of the least expected tokens.

        Raises:
            InputError: if no detector was fitted.
        """
        codec, number = self._codec(batch_size, progress, seed=None), whole("num_tokens", num_tokens, NOT_NEGATIVE)
        return detect(codec, self.detector, texts, number, label)

    # z among others

    def index(
        self,
        corpus: Corpus,
        batch_size: int = 64,
        progress: bool = True,
        label: Label = None,
    ) -> TextIndex:
        """Encode a corpus for `neighbours`; `save(directory)` of the index keeps it, texts and all.

        Args:
            corpus: a list of strings, or a dataset or table with the column `text`.

        Raises:
            InputError: if there is no text, or faiss, an extra, is not installed.
        """
        return make_index(self._codec(batch_size, progress, seed=None), corpus, label)

    def neighbours(
        self,
        texts: Texts,
        corpus: TextIndex | str | Path | Corpus,
        num_neighbours: int = 5,
        batch_size: int = 64,
        progress: bool = True,
        label: Label = None,
    ) -> list[list[Neighbour]] | list[Neighbour] | Iterator[Any]:
        """The texts of a corpus whose z have the greatest cosine with that of each text, the nearest first.

        The search is exact, in a flat index of FAISS.

        Args:
            corpus: what `index` gave, the directory that it was saved in, or texts that are encoded now.
            num_neighbours: of each text; all of the corpus if it has no more.
            label: of the texts, and of a corpus that is encoded now; then it is one name.

        Returns: a list of [`textvae.pipeline.Neighbour`] (text, similarity, row) for each text.

        Raises:
            InputError: if the index is of another model, or faiss, an extra, is not installed.
        """
        codec, number = self._codec(batch_size, progress, seed=None), whole("num_neighbours", num_neighbours, COUNT)
        return find_neighbours(codec, texts, corpus, number, label)

    def map(
        self,
        texts: Texts,
        method: str | PCAMap | UMAPMap = "pca",
        classes: Iterable[str] | None = None,
        seed: int = 0,
        batch_size: int = 64,
        progress: bool = True,
        label: Label = None,
    ) -> TextMap:
        """The z of texts in two dimensions; `save("map.html")` or `save("map.parquet")` of the map keeps it.

        Args:
            method: `pca`, the plane in which they vary most; `umap`, a layout of groups; or the `projection` of another
                map, in which these texts get their places.
            classes: of each text, by which it is coloured; with labels these, if not given.
            seed: of `umap`.

        Raises:
            InputError: for fewer than 2 texts (16 for `umap`), or if umap-learn, an extra, is not installed.
        """
        return make_map(self._codec(batch_size, progress, seed=None), texts, method, classes, seed, label)

    def evaluate(
        self,
        texts: Iterable[str] | Table | Dataset,
        config: EvaluationConfig | None = None,
        *,
        label: Label = None,
        prior: str | None = None,
        cache: str | Path | None = None,
        **options,
    ) -> dict[str, float | int]:
        """Bounds, information and reconstruction over a dataset; see [`evaluate`] for the report.

        Args:
            texts: a list of strings, or a dataset or table with the column `text`. If it has a column `target`, these
                texts are decoded and measured, given the z of `text`.
            config, cache: see [`evaluate`]; the fields of a config may be given as `options` instead.
            label: for a model with labels, in place of the dataset's column `label`.
            prior: that of the samples and of the bounds `fitted_…`, by name as in `sample`.

        Raises:
            InputError: if there are fewer than two texts, or a text, a label or an option cannot be used.
        """
        config, names = one_config(config, options), self.model.config.label_names
        chosen = prior_of(self.priors, prior)
        texts = as_dataset(texts, label, names)
        tokenized = main_first(lambda: tokenize_corpus(texts, self.tokenizers, self.max_length, names))
        parts = self.model, self.tokenizer, cast(Dataset, tokenized)
        return evaluate(*parts, config, encoder_tokenizer=self.encoder_tokenizer, prior=chosen, cache=cache)

    @property
    def _fitted(self) -> Fitted:
        return Fitted(self.priors, self.directions, self.detector)

    def _codec(self, batch_size: int, progress: bool, seed: int | None, controls: dict | None = None) -> Codec:
        return Codec(self.model, self.tokenizers, batch_size, progress, seed, controls or {})
