"""Measure how well z tells the classes of texts, beside other vectors. Prints a table of accuracies.

python recipes/evaluate_latents.py runs/mine --train_file train.csv --test_file test.csv --label_column intent

The model is one without labels. A text of the test file is told by its five nearest texts of the train file, and by a
linear probe. `--judge_encoder` adds the embeddings of a sentence encoder, and as many of their principal components as
z has dimensions. `--maps` adds a table of what maps of z, and of these embeddings, keep of them in two dimensions.
"""

from pathlib import Path

import torch

from textvae import TextVAEPipeline
from textvae.cli.arguments import FILE_HELP, Parser
from textvae.cli.main import run
from textvae.data.corpora import load_texts
from textvae.errors import require_scikit_learn
from textvae.evaluation.judges import SentenceEncoder
from textvae.evaluation.probes import (
    MAP_TITLES,
    TITLES,
    accuracies,
    map_scores,
    principal_components,
    word_vectors,
)
from textvae.evaluation.table import as_csv, as_markdown
from textvae.files import check_place, write_whole
from textvae.latents import PCAMap, UMAPMap
from textvae.processes import say


def main() -> None:
    parser = Parser(description=__doc__)
    parser.add_argument("model", help="a directory that train.py wrote")
    for split in ("train", "test"):
        parser.add_argument(f"--{split}_file", nargs="+", action="extend", required=True, help=FILE_HELP)
    parser.add_argument("--text_column", default="text")
    parser.add_argument("--label_column", default="label", help="column of the classes")
    parser.add_argument("--judge_encoder", help="a sentence encoder to compare with, by path or Hub name")
    parser.add_argument("--maps", action="store_true", help="measure maps by PCA and UMAP, too")
    parser.add_argument("--output", help="write the table to this CSV file, too")
    arguments = parser.parse_args()
    require_scikit_learn("A probe of classes")
    if arguments.output:
        check_place(Path(arguments.output))
    columns = {"text_column": arguments.text_column, "label_column": arguments.label_column}
    train, test = (load_texts(file, **columns) for file in (arguments.train_file, arguments.test_file))
    vae = TextVAEPipeline.from_pretrained(arguments.model)
    encoder = SentenceEncoder(arguments.judge_encoder, vae.device) if arguments.judge_encoder else None
    vectors, rows = vectors_of(vae, encoder, train["text"][:], test["text"][:]), []
    for name, (own, other) in vectors.items():
        rows.append({"vectors": name, "size": own.shape[1]})
        rows[-1] |= accuracies(own, train["label"][:], other, test["label"][:])
    if arguments.output:
        write_whole(Path(arguments.output), as_csv(rows))
    shown = [[row["vectors"], str(row["size"]), *(f"{row[name]:.1%}" for name in TITLES)] for row in rows]
    say(as_markdown(["vectors", "size", *TITLES.values()], shown))
    if arguments.maps:
        say("\n" + maps_of(vectors, train["label"][:], test["label"][:]))


def maps_of(vectors: dict, train: list[str], test: list[str]) -> str:
    """A table of the maps of z and of the sentence encoder, if there is one."""
    rows = []
    for name in [name for name in ("z", "sentence encoder") if name in vectors]:
        own, other = vectors[name]
        for kind in (PCAMap, UMAPMap):
            scores = map_scores(kind.fit(torch.from_numpy(own)), own, train, other, test)
            rows.append([name, kind.__name__, f"{scores['neighbours']:.1%}", f"{scores['trustworthiness']:.3f}"])
    return as_markdown(["vectors", "map", *MAP_TITLES.values()], rows)


def vectors_of(vae: TextVAEPipeline, encoder: SentenceEncoder | None, train: list[str], test: list[str]) -> dict:
    """Name → the vectors of the texts of both files."""
    size = vae.model.config.latent_size
    found = {"z": tuple(vae.encode(texts).numpy() for texts in (train, test))}
    if encoder is not None:
        embeddings, others = (encoder.embed(texts).numpy() for texts in (train, test))
        found["sentence encoder"] = embeddings, others
        found["its principal components"] = principal_components(embeddings, others, size)
    return found | {"TF-IDF of words, SVD": word_vectors(train, test, size)}


if __name__ == "__main__":
    run(main)
