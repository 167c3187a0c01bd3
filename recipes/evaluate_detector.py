"""Measure how well each score of a detector finds unusual texts, beside scores that need no text VAE. Prints a table.

python recipes/evaluate_detector.py runs/mine --normal train.txt --held_out valid.txt --test test.txt --unusual odd.txt

--judge_encoder adds a sentence encoder, and --pyod_detector LUNAR KNN detectors of the package pyod on its vectors.

AUROC is 0.5 for a score that knows nothing. FPR is the share of normal texts that are false alarms where 95 % of the
unusual ones are found. No score sees an unusual text before.
"""

from typing import cast

import torch
from torch import Tensor

from textvae import TextVAEPipeline
from textvae.cli.arguments import FILE_HELP, Parser
from textvae.cli.main import run
from textvae.cli.rows import Rows, add_rows
from textvae.data.corpora import load_texts
from textvae.errors import InputError, require_scikit_learn
from textvae.evaluation import detection
from textvae.evaluation.judges import SentenceEncoder
from textvae.latents.outliers import fisher, p_values
from textvae.pipeline import SCORES, Codec, Reading
from textvae.pipeline.detect import DEFAULT_SCORES
from textvae.pipeline.detector import Detector


def main() -> None:
    parser = Parser(description=__doc__)
    parser.add_argument("model", help="a directory that train.py wrote")
    for name, texts in (
        ("normal", "normal texts that distances are from, such as those of training"),
        ("held_out", "normal texts that calibrate; not those of training"),
        ("test", "normal texts that are not to be found"),
        ("unusual", "texts that are to be found"),
    ):
        parser.add_argument(f"--{name}", nargs="+", action="extend", required=True, help=f"{texts}. {FILE_HELP}")
    parser.add_argument("--judge_encoder", help="a sentence encoder to compare with, by path or Hub name")
    parser.add_argument(
        "--pyod_detector", nargs="+", default=[], help="detectors of pyod, such as LUNAR or KNN, on --judge_encoder"
    )
    parser.add_argument("--label", help="label of all texts, for a model with labels")
    add_rows(parser)
    arguments = parser.parse_args()
    require_scikit_learn("The measure of a detector")
    if arguments.pyod_detector and not arguments.judge_encoder:
        raise InputError("--pyod_detector reads the vectors of a sentence encoder: give --judge_encoder, too.")
    rows = Rows(arguments.output)
    normal, held_out, test, unusual = (
        load_texts(vars(arguments)[name])["text"][:] for name in ("normal", "held_out", "test", "unusual")
    )
    vae = TextVAEPipeline.from_pretrained(arguments.model)
    encoder = SentenceEncoder(arguments.judge_encoder, vae.device) if arguments.judge_encoder else None
    vae.fit_detector(normal, held_out, SCORES, label=arguments.label)
    for name, scores in (
        of_detector(vae, test + unusual, arguments.label)
        | of_others(encoder, arguments.pyod_detector, normal, test + unusual)
    ).items():
        usual, odd = torch.as_tensor(scores).double().split([len(test), len(unusual)])
        rows.add({"score": name, "auroc": detection.auroc(usual, odd), "fpr_at_95": detection.false_alarms(usual, odd)})


def of_detector(vae: TextVAEPipeline, texts: list[str], label: str | None) -> dict[str, Tensor]:
    """Each score of the detector, and those of `detect` by default together."""
    codec, detector = Codec(vae.model, vae.tokenizers), cast(Detector, vae.detector)
    scores = Reading(codec, codec.read(texts, label)[0], detector.distances).scores(SCORES)
    some = [SCORES.index(name) for name in DEFAULT_SCORES]
    together = fisher(p_values(scores[:, some], detector.each[:, some]))
    return dict(zip(SCORES, scores.T, strict=True)) | {" and ".join(DEFAULT_SCORES): together}


def of_others(encoder: SentenceEncoder | None, pyod_detectors: list[str], normal: list[str], texts: list[str]) -> dict:
    """The scores that need no text VAE."""
    found = {
        "length in characters": detection.length(texts),
        "unigram NLL": detection.unigram_nll(normal, texts),
        "word TF-IDF, 5 neighbours": detection.tf_idf_distance(normal, texts, "word", (1, 1), 5),
        "character TF-IDF (2 to 5), 1 neighbour": detection.tf_idf_distance(normal, texts, "char_wb", (2, 5), 1),
        "word TF-IDF, isolation forest": detection.isolation_score(normal, texts),
    }
    if encoder is not None:
        found["sentence encoder, 5 neighbours"] = detection.embedding_distance(encoder, normal, texts)
        for name in pyod_detectors:
            found[f"sentence encoder, {name} of pyod"] = detection.pyod_score(encoder, name, normal, texts)
    return found


if __name__ == "__main__":
    run(main)
