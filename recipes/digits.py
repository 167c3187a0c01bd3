"""Handwritten digits as texts, with two dimensions of z: draws the plane of z, decoded on a grid.

python recipes/digits.py --output_dir runs/digits

scikit-learn's 1,797 digits have 8 × 8 pixels. A pixel becomes one of the characters `.-+#`, half a row a word, and a
digit a text of 16 words. It writes digits.train.csv and digits.valid.csv beside the output_dir, trains with the
settings of configs/digits.yaml (another --config and all flags of train.py will do), draws plane.png in the output_dir,
and prints how well z tells the digits. It needs `pip install 'textvae[recipes,judge]'`.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch.distributions import Normal

from textvae import TextVAEPipeline, train
from textvae.cli.arguments import Parser, add_training_flags, training_config
from textvae.cli.main import run
from textvae.errors import InputError, require_scikit_learn
from textvae.evaluation.probes import accuracies
from textvae.evaluation.table import as_csv
from textvae.files import whole_file, write_whole
from textvae.processes import say
from textvae.sweeps.compare import require_matplotlib

LEVELS = ".-+#"  # from background to ink
DARKEST = 16  # of scikit-learn's pixels
SIDE, WORD = 8, 4  # pixels of a row, and of a word
HELD_OUT = 360
STEPS = 20  # of the grid, along each side


def main() -> None:
    parser = Parser(description=__doc__)
    add_training_flags(parser)
    parser.set_defaults(config=str(Path(__file__).parent / "configs" / "digits.yaml"))
    config = training_config(parser.parse_args())
    require_scikit_learn("The recipe of digits")
    require_matplotlib()
    if config.latent_size != 2:
        raise InputError(f"A plane has two dimensions: give --latent_size 2, not {config.latent_size}.")
    output_dir, splits = Path(config.output_dir), read_digits()
    files = {name: output_dir.with_name(f"digits.{name}.csv") for name in splits}
    output_dir.parent.mkdir(parents=True, exist_ok=True)
    for name, rows in splits.items():
        write_whole(files[name], as_csv(rows))
    vae = train(replace(config, train_file=[str(files["train"])], validation_file=[str(files["valid"])]))
    known, told = ([[row[name] for row in rows] for name in ("text", "digit")] for rows in splits.values())
    codes, others = (vae.encode(texts, progress=False).numpy() for texts in (known[0], told[0]))
    with whole_file(output_dir / "plane.png") as place:
        draw(decode_plane(vae), others, told[1]).savefig(place, format="png", dpi=100)
    found = accuracies(codes, known[1], others, told[1])["neighbours_euclidean"]
    say(f"\n5 nearest neighbours in z tell {found:.1%} of the held-out digits. See {output_dir / 'plane.png'}.")


def read_digits() -> dict[str, list[dict[str, str]]]:
    """The rows `text` and `digit` of `train` and `valid`, which are the last of the data set."""
    from sklearn.datasets import load_digits

    pixels, digits = load_digits(return_X_y=True)
    rows = [{"text": as_text(image), "digit": str(digit)} for image, digit in zip(pixels, digits, strict=True)]
    return {"train": rows[:-HELD_OUT], "valid": rows[-HELD_OUT:]}


def as_text(pixels: np.ndarray) -> str:
    """The words of an image of 64 pixels from 0 to 16, row by row."""
    characters = [LEVELS[int(pixel) * len(LEVELS) // (DARKEST + 1)] for pixel in pixels.ravel()]
    return " ".join("".join(characters[start : start + WORD]) for start in range(0, SIDE * SIDE, WORD))


def as_image(text: str) -> np.ndarray:
    """(8, 8), from 0 to 1; what a text lacks is background, and what it has too much is cut."""
    characters = text.replace(" ", "")[: SIDE * SIDE].ljust(SIDE * SIDE, LEVELS[0])
    return np.array([max(LEVELS.find(one), 0) for one in characters]).reshape(SIDE, SIDE) / (len(LEVELS) - 1)


def plane(steps: int = STEPS) -> torch.Tensor:
    """(steps², 2): the quantiles of N(0, 1) at equal steps along each side, the first row at the top."""
    quantiles = Normal(0.0, 1.0).icdf((torch.arange(steps) + 0.5) / steps)
    return torch.cartesian_prod(quantiles.flip(0), quantiles).flip(1)


def decode_plane(vae: TextVAEPipeline) -> np.ndarray:
    """The images of all z of the plane as one, (8 · steps, 8 · steps)."""
    images = [as_image(text) for text in vae.decode(plane(), progress=False)]  # pyright: ignore[reportArgumentType]
    return np.block([images[start : start + STEPS] for start in range(0, STEPS**2, STEPS)])


def draw(image: np.ndarray, codes: np.ndarray, digits: list[str]):
    """A `matplotlib.figure.Figure` of the decoded plane, and beside it the z of texts."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 6), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.imshow(image, cmap="gray_r", interpolation="nearest")
    left.set_axis_off()
    left.set_title("decoded from a grid of quantiles of the prior")
    for digit in sorted(set(digits)):
        own = codes[[one == digit for one in digits]]
        right.scatter(*own.T, s=0)  # for the limits alone
        for place in own:
            right.text(*place, digit, color=f"C{digit}", ha="center", va="center", fontsize=8)
    right.set_aspect("equal")
    right.set_title("held-out digits where they are read")
    return figure


if __name__ == "__main__":
    run(main)
