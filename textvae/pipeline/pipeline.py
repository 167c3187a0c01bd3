"""TextVAEPipeline: text in, text out. A model and its tokenizer, or one for each side of it, in one directory.

N texts · Z latent_size · K samples
"""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from datasets import Dataset
from huggingface_hub import HfApi
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from textvae.data.corpora import check_strings
from textvae.data.tokenization import MAX_LENGTH
from textvae.data.tokenize import tokenize_corpus
from textvae.data.tokenizer_pair import load_tokenizers, save_tokenizers
from textvae.errors import InputError
from textvae.evaluation.evaluate import evaluate
from textvae.evaluation.likelihood import importance_weighted_nll
from textvae.latents import paths as geometry
from textvae.modeling.adapters import merged
from textvae.modeling.autoencoder import TextVAEModel
from textvae.modeling.load import load_model
from textvae.modeling.vocabulary import check_match
from textvae.pipeline.codec import Codec, Label, Written
from textvae.pipeline.hub import CARD_FILE, METRICS_FILE
from textvae.pipeline.paraphrase import find_paraphrases
from textvae.processes import main_first

Texts = str | Sequence[str]


class TextVAEPipeline:
    """A text VAE that reads and writes strings.

    Every verb takes one text and gives one result, or takes a list and gives a list in the same order ([] for []).
    What they have in common:

    - `batch_size`: texts in the model at a time; it changes no noise that z is made of.
    - `seed`: makes a call reproducible and leaves torch's random state alone. Without it the draws are torch's own.
      Where words are drawn too (`do_sample=True`), the outcome also depends on `batch_size`.
    - `progress`: show a bar when there are more than a few batches.
    - `generation_kwargs`: all decoding controls of Hugging Face's `generate`: `num_beams`, `do_sample`, `top_p`,
      `repetition_penalty`, `num_return_sequences`, a whole `generation_config`, … Greedy by default, up to
      `max_length` tokens, and never past the end of the text.
    - `label`: with a model that has labels, and only then: one name for all texts, or a list of one for each. Style
      transfer is `decode(encode(texts, label="negative"), label="positive")`.

    A text of more than `max_length` tokens is cut, its end marked, and counted in a warning. Whatever cannot be read
    as a text (blank, no string) raises InputError, and so does a label that the model has not.
    """

    def __init__(
        self,
        model: TextVAEModel,
        tokenizer: PreTrainedTokenizerBase,
        max_length: int | None = None,
        encoder_tokenizer: PreTrainedTokenizerBase | None = None,
    ):
        """The model is put in evaluation mode.

        Args:
            tokenizer: of the decoder, and of the encoder too unless it has another.
            max_length: kept where Hugging Face does, in the tokenizer, whose own it is when not given, or 64.
            encoder_tokenizer: where the encoder reads other tokens than the decoder writes.

        Raises:
            InputError: if `max_length` is below 2, or a tokenizer is not the one the model was built for.
        """
        if max_length is None:
            is_set = tokenizer.model_max_length < 1e9  # Hugging Face's default is astronomical
            max_length = tokenizer.model_max_length if is_set else MAX_LENGTH
        _at_least(2, max_length=max_length)
        check_match(model, tokenizer, encoder_tokenizer)
        self.model = model.eval()
        self.tokenizer, self.encoder_tokenizer = tokenizer, encoder_tokenizer
        for each in (tokenizer, encoder_tokenizer):
            if each is not None:
                each.model_max_length = max_length

    @property
    def max_length(self) -> int:
        """The longest text, in tokens of either side, its end included."""
        return self.tokenizer.model_max_length

    # directories

    @classmethod
    def from_pretrained(
        cls, name_or_path: str, device: str | torch.device | None = None, dtype: str | torch.dtype = "auto"
    ) -> "TextVAEPipeline":
        """Open a directory written by `save_pretrained`, or a model on the Hub.

        Args:
            device: a GPU (CUDA, then Apple's) where there is one, else the CPU, when not given.
            dtype: of the weights; "auto" keeps the one they were saved in.

        Raises:
            InputError: if there is no such model, it is not a text VAE, or its weights are corrupt or incomplete.
        """
        model = load_model(str(name_or_path), dtype)
        tokenizer, encoder_tokenizer = load_tokenizers(str(name_or_path))
        pipeline = cls(model, tokenizer, encoder_tokenizer=encoder_tokenizer)
        pipeline.model.to(device or _best_device())
        return pipeline

    def save_pretrained(self, path: str) -> None:
        """Write model (safetensors) and tokenizer, which `AutoModel` and `AutoTokenizer` open too.

        The encoder's own tokenizer, if it has one, is in `encoder_tokenizer/`. Where not all was trained, only what was
        is written, and config.json says in `base` where the rest is.
        """
        self.model.save_pretrained(path)
        save_tokenizers(path, self.tokenizer, self.encoder_tokenizer)

    def merge_and_save(self, path: str) -> None:
        """Write a directory with all weights in it, in fp32, adapters merged: it needs no base, and no peft, to open.

        Raises:
            InputError: if the decoder is quantized.
        """
        merged(self.model).save_pretrained(path)
        save_tokenizers(path, self.tokenizer, self.encoder_tokenizer)

    def push_to_hub(self, repo_id: str, private: bool | None = None, token: str | None = None) -> None:
        """Upload what `save_pretrained` writes, with the model card and the metrics of the run it was opened from.

        Args:
            private: whether a new repository is; when not given, it is what the account makes of new ones, public as
                a rule.
            token: when not given, that of `hf auth login` or of HF_TOKEN.
        """
        hub = HfApi(token=token)
        repo_id = hub.create_repo(repo_id, private=private, exist_ok=True).repo_id  # with the user's name in front
        with TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            run = Path(self.model.config.name_or_path)
            for name in (CARD_FILE, METRICS_FILE):
                if (run / name).is_file():
                    content = (run / name).read_text(encoding="utf-8")
                    Path(folder, name).write_text(content.replace(f'("{run}")', f'("{repo_id}")'), encoding="utf-8")
            hub.upload_folder(repo_id=repo_id, folder_path=folder)

    # text → z → text

    def encode(
        self,
        texts: Texts,
        sample: bool = False,
        seed: int | None = None,
        batch_size: int = 64,
        progress: bool = True,
        label: Label = None,
    ) -> Tensor:
        """z of each text: the mean of q(z|x), or with `sample` one draw of it.

        Returns:
            (N, Z), or (Z,) for one string; float32, on the CPU.
        """
        texts, single = _as_list(texts)
        codec = self._codec(batch_size, progress)
        latents, stddev = codec.posteriors(codec.read(texts, codec.label_ids(label, len(texts))))
        if sample:
            with codec.seeded(seed):
                latents = latents + stddev * torch.randn(latents.shape)
        return latents[0] if single else latents

    def decode(
        self,
        latents: Tensor,
        seed: int | None = None,
        batch_size: int = 64,
        progress: bool = True,
        label: Label = None,
        **generation_kwargs,
    ) -> Written:
        """The text of each z (N, Z), or of one (Z,); a list of texts of each where `num_return_sequences` is above 1.

        Raises:
            InputError: if a z is not of the model's `latent_size`.
        """
        latents = torch.as_tensor(latents)
        single = latents.dim() == 1
        latents = latents[None] if single else latents
        codec = self._codec(batch_size, progress)
        ids = codec.label_ids(label, len(latents))
        with codec.seeded(seed):
            written = codec.write(latents, ids, generation_kwargs)
        return written[0] if single else written

    def reconstruct(
        self,
        texts: Texts,
        seed: int | None = None,
        batch_size: int = 64,
        progress: bool = True,
        label: Label = None,
        **generation_kwargs,
    ) -> Written:
        """Each text, written back from the mean of its q(z|x).

        Returns:
            a text for each, or a list of texts where `num_return_sequences` is above 1.
        """
        texts, single = _as_list(texts)
        codec = self._codec(batch_size, progress)
        corpus = codec.read(texts, codec.label_ids(label, len(texts)))
        latents, _ = codec.posteriors(corpus)
        with codec.seeded(seed):
            written = codec.write(latents, corpus.label_ids, generation_kwargs, corpus.lengths)
        return written[0] if single else written

    def sample(
        self,
        num_samples: int = 1,
        temperature: float = 1.0,
        seed: int | None = None,
        batch_size: int = 64,
        progress: bool = True,
        label: Label = None,
        **generation_kwargs,
    ) -> Written:
        """Texts from the prior: z = temperature · ε, with ε from N(0, I).

        With labels from p(z|c): z = mean + temperature · std · ε; a list of labels has `num_samples` of them. The
        temperature at which words are drawn is another one; give it in a `generation_config`.

        Returns:
            `num_samples` texts, always as a list.

        Raises:
            InputError: if `num_samples` is below 1 or `temperature` is negative.
        """
        _at_least(1, num_samples=num_samples)
        _at_least(0, temperature=temperature)
        codec = self._codec(batch_size, progress)
        ids = codec.label_ids(label, num_samples)
        mean, stddev = codec.prior(ids)
        with codec.seeded(seed):
            latents = mean + temperature * stddev * torch.randn(num_samples, self.model.config.latent_size)
            return codec.write(latents, ids, generation_kwargs)

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
        **generation_kwargs,
    ) -> Written:
        """The texts on the way from one to another; the first and the last are the reconstructions of these two.

        Args:
            start, end: two texts, or two lists for as many ways.
            path: `linear` or `spherical`, see [`textvae.latents.interpolate`].
            label: of a way and both its ends.

        Returns:
            `num_steps` texts, or a list of them for each way.

        Raises:
            InputError: if `num_steps` is below 2, the path is unknown, or the two lists differ in length.
        """
        (starts, single), (ends, _) = _as_list(start), _as_list(end)
        if len(starts) != len(ends) or isinstance(start, str) != isinstance(end, str):
            raise InputError("start and end must be two texts, or two lists of the same length.")
        codec = self._codec(batch_size, progress)
        ids = codec.label_ids(label, len(starts))
        means, _ = codec.posteriors(codec.read(starts + ends, ids and ids + ids))
        ways = geometry.interpolate(*means.split([len(starts), len(ends)]), num_steps, path)  # (N, num_steps, Z)
        with codec.seeded(seed):
            written = codec.write_each(ways, ids, generation_kwargs)
        return written[0] if single else written

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
        **generation_kwargs,
    ) -> Written:
        """Other texts near each text, the nearest first.

        Draws z = mean + temperature · std · ε from q(z|x) and writes each z. Copies of the text and duplicates (but for
        case, spaces and punctuation at the end) are dropped; the others are ranked by the Euclidean distance between
        the mean of their own q(z|x) and that of the text. Texts that have too few are drawn for again at 1.5 times the
        temperature, in at most 4 rounds, so that there may be fewer than asked for, or none.

        Args:
            num_candidates: drawn for each text in a round; four times `num_return_sequences` when not given.

        Returns:
            up to `num_return_sequences` texts, or a list of them for each text.

        Raises:
            InputError: if `num_return_sequences` or `num_candidates` is below 1, or `temperature` is negative.
        """
        num_candidates = 4 * num_return_sequences if num_candidates is None else num_candidates
        _at_least(1, num_return_sequences=num_return_sequences, num_candidates=num_candidates)
        _at_least(0, temperature=temperature)
        texts, single = _as_list(texts)
        codec = self._codec(batch_size, progress)
        corpus = codec.read(texts, codec.label_ids(label, len(texts)))
        with codec.seeded(seed):
            found = find_paraphrases(
                codec, corpus, num_return_sequences, num_candidates, temperature, generation_kwargs
            )
        nearest = [paraphrases[:num_return_sequences] for paraphrases in found]
        return nearest[0] if single else nearest

    def score(
        self,
        texts: Texts,
        num_samples: int = 100,
        seed: int | None = 0,
        batch_size: int = 64,
        progress: bool = True,
        label: Label = None,
    ) -> list[float] | float:
        """Upper bound on -log p(x) of each text in nats: the lower, the more usual (Burda et al. 2016, eq. 8).

        With labels that of -log p(x|c), which of several labels is lowest for the one that fits.

        It grows with the length of a text. All texts share the same K draws of noise, so that a text's score does not
        depend on the others; for a corpus's likelihood, where independent draws are better, see [`evaluate`].

        Returns:
            nats of each text; one number for one string.

        Raises:
            InputError: if `num_samples` is below 1.
        """
        _at_least(1, num_samples=num_samples)
        texts, single = _as_list(texts)
        codec = self._codec(batch_size, progress)
        corpus = codec.read(texts, codec.label_ids(label, len(texts)))
        with codec.seeded(seed):
            noise = torch.randn(num_samples, 1, self.model.config.latent_size)  # (K, 1, Z)

        @torch.no_grad()
        def nll(indices: list[int]) -> list[float]:
            rows = iter(noise.expand(-1, len(indices), -1))
            batch = corpus.batch(indices)
            return importance_weighted_nll(
                self.model, batch, num_samples, lambda k: torch.stack([next(rows) for _ in range(k)]), batch_size
            ).tolist()

        scores = codec.in_batches(nll, corpus.lengths, "scoring")
        return scores[0] if single else scores

    def evaluate(self, texts: Sequence[str] | Dataset, **options) -> dict[str, float | int]:
        """Bounds, information and reconstruction over a corpus; `options` and the report are those of [`evaluate`].

        Args:
            texts: a list of strings, or a dataset with the column `text`. A column `target` holds what is to be decoded
                where that is something else: then it is these texts that are measured, given the z of `text`. For a
                model with labels there must be a column `label`; another takes no notice of it.

        Raises:
            InputError: if there are fewer than two texts, one is blank or no string, a label is missing
                or unknown, or one of the options cannot be used.
        """
        if not isinstance(texts, Dataset):
            texts = Dataset.from_dict({"text": _as_list(texts)[0]})
        elif "text" not in texts.column_names:
            raise InputError(f"The dataset has no column 'text' but {', '.join(texts.column_names)}: rename one.")
        else:
            for column in {"text", "target"} & set(texts.column_names):
                _as_list(texts[column][:])
        encoder_tokenizer = self.encoder_tokenizer
        reading = {"encoder_tokenizer": encoder_tokenizer, "label_names": self.model.config.label_names}
        dataset = main_first(lambda: tokenize_corpus(texts, self.tokenizer, self.max_length, **reading))
        options = {"max_new_tokens": self.max_length, **options, "encoder_tokenizer": encoder_tokenizer}
        return evaluate(self.model, self.tokenizer, dataset, **options)

    def _codec(self, batch_size: int, progress: bool) -> Codec:
        return Codec(self.model, self.tokenizer, self.encoder_tokenizer, batch_size, progress)


def _as_list(texts: Texts) -> tuple[list[str], bool]:
    """The texts, and whether it was a single one."""
    single = isinstance(texts, str)
    texts = [texts] if single else list(texts)
    check_strings(texts)
    for index, text in enumerate(texts):
        if not text.strip():
            raise InputError(f"Text {index} is blank: leave it out, or write something.")
    return texts, single


def _at_least(limit: int, **values: float) -> None:
    for name, value in values.items():
        if value < limit:
            raise InputError(f"{name} is {value}, it must be at least {limit}.")


def _best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
