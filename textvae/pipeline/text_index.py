"""The texts of a corpus and their z, in which a pipeline searches for the nearest ones; kept in a directory.

N texts · M texts of the corpus · Z latent_size
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

import datasets
import torch
from datasets import Dataset, load_from_disk
from torch import Tensor

from textvae.data.given import Table
from textvae.errors import InputError, shown
from textvae.files import check_directory, checksum, read_json, whole_files
from textvae.latents.neighbours import VectorIndex, require_faiss
from textvae.pipeline.chunks import each_chunk, in_chunks
from textvae.pipeline.codec import Codec
from textvae.pipeline.fingerprint import fingerprint, is_of
from textvae.pipeline.inputs import Label, Texts, with_texts

Corpus = Iterable[str] | Table | Dataset
LACKS = "cannot say what texts are near to each other."
INDEX_FILE, _VECTORS, _TEXTS = "index.json", "index.faiss", "texts"


class Neighbour(NamedTuple):
    """A text of a corpus that is near to another text.

    Args:
        text: of the corpus.
        similarity: the cosine of the two z, at most 1.
        row: of the text in the corpus, from 0.
    """

    text: str
    similarity: float
    row: int


@dataclass
class TextIndex:
    """A corpus that `TextVAEPipeline.neighbours` searches in.

    Args:
        texts: M rows, with the column `text`.
        vectors: of M points.
        fingerprint: of the model that gave them, see [`textvae.pipeline.fingerprint`].
    """

    texts: Dataset
    vectors: VectorIndex
    fingerprint: Tensor

    def __len__(self) -> int:
        return len(self.texts)

    def nearest(self, latents: Tensor, number: int) -> list[list[Neighbour]]:
        """The nearest texts of each z (N, Z), the first the nearest."""
        similarities, rows = self.vectors.nearest(latents, number)
        texts = iter(self.texts[rows.flatten().tolist()]["text"])
        pairs = zip(similarities.tolist(), rows.tolist(), strict=True)
        return [[Neighbour(next(texts), *one) for one in zip(*own, strict=True)] for own in pairs]

    def save(self, path: str | Path) -> None:
        """Write it to a directory; an index that was there is replaced when all is written.

        Raises:
            InputError: if `path` is a file, or a directory with other files than those of an index.
            OSError: if the directory cannot be written; then it is as it was.
        """
        check_index_place(Path(path))
        with whole_files(path) as place, _without_bars():
            self.texts.save_to_disk(place / _TEXTS)
            self.vectors.save(place / _VECTORS)
            content = {"fingerprint": self.fingerprint.tolist(), "crc32": _checksums(place)}
            (place / INDEX_FILE).write_text(json.dumps(content), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> "TextIndex":
        """What `save` wrote; the texts stay on the disk until they are asked for.

        Raises:
            InputError: if the directory holds no index, or a damaged one; without faiss, an extra.
        """
        path = Path(path)
        content = read_json(path / INDEX_FILE)
        if content is None:
            raise InputError(f"{path} holds no index: write one with TextVAEPipeline.index and save.")
        require_faiss()
        try:
            opened = cls._opened(path, content)
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"The index in {path} is damaged: copy or write it again.") from error
        return opened

    @classmethod
    def _opened(cls, path: Path, content: dict) -> "TextIndex":
        if _checksums(path) != content["crc32"]:
            raise ValueError
        texts, vectors = cast(Dataset, load_from_disk(path / _TEXTS)), VectorIndex.load(path / _VECTORS)
        if len(texts) != len(vectors) or texts.column_names != ["text"]:
            raise ValueError
        return cls(texts, vectors, torch.tensor(content["fingerprint"]))


def check_index_place(path: Path) -> None:
    """Raises InputError if an index written to this directory would replace or mix with something else."""
    check_directory(path)
    if path.exists() and any(path.iterdir()) and not (path / INDEX_FILE).is_file():
        raise InputError(f"{path} holds other files than those of an index: give a new directory.")


def _checksums(path: Path) -> dict[str, int]:
    """The CRC-32 of each file of an index, by its name."""
    files = [path / _VECTORS, *sorted((path / _TEXTS).iterdir())]
    return {file.relative_to(path).as_posix(): checksum(file) for file in files}


def make_index(codec: Codec, corpus: Corpus, label: Label) -> TextIndex:
    """The index of a corpus, see `TextVAEPipeline.index`. Part by part, so that memory holds little but the z.

    Raises:
        InputError: if there is no text, one cannot be used, or the model has no z.
    """
    require_faiss()
    codec.check_has_z(LACKS)
    if isinstance(corpus, str | Path):
        raise InputError(
            f"A corpus is a list of texts, not {shown(str(corpus))}: give what textvae.data.load_texts reads of a file."
        )
    texts = with_texts(corpus).select_columns("text")
    if not len(texts):
        raise InputError("The corpus holds no text: give some.")
    vectors = VectorIndex.empty(codec.model.config.latent_size)
    for means in each_chunk(codec, cast("Sequence[str]", texts["text"]), label, codec.means):
        vectors.add(means)
    return TextIndex(texts, vectors, fingerprint(codec.model))


def find_neighbours(
    codec: Codec,
    texts: Texts,
    corpus: TextIndex | str | Path | Corpus,
    number: int,
    label: Label,
) -> list[list[Neighbour]] | list[Neighbour] | Iterator[Any]:
    """The nearest texts of a corpus, see `TextVAEPipeline.neighbours`."""
    codec.check_has_z(LACKS)
    index = opened_index(codec, corpus, label)
    return in_chunks(codec, texts, label, lambda read: index.nearest(codec.means(read), number))


def opened_index(codec: Codec, corpus: TextIndex | str | Path | Corpus, label: Label) -> TextIndex:
    """This index, that of this directory, or a new one of these texts; raises InputError if it is of another model."""
    if isinstance(corpus, str | Path):
        corpus = TextIndex.load(corpus)
    if not isinstance(corpus, TextIndex):
        return make_index(codec, corpus, label)
    if not is_of(corpus.fingerprint, codec.model):
        raise InputError(
            "The index is of another model, or the model was trained since: make it anew with TextVAEPipeline.index or "
            "`textvae index`."
        )
    return corpus


@contextmanager
def _without_bars() -> Iterator[None]:
    """A context in which `datasets` shows no progress bars."""
    were_off = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if not were_off:
            datasets.enable_progress_bars()
