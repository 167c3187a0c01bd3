"""Texts in a plane: a map of their z, written as a table or as a page.

N texts
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas
import torch
from torch import Tensor

from textvae.config_fields import SEED, nearest, whole
from textvae.errors import InputError, shown
from textvae.files import whole_file
from textvae.latents.maps import PCAMap, UMAPMap
from textvae.pipeline.chunks import each_chunk
from textvae.pipeline.codec import Codec
from textvae.pipeline.inputs import Label, Texts, as_list, as_many
from textvae.pipeline.map_page import map_page, require_plotly
from textvae.pipeline.text_index import LACKS

METHODS = ("pca", "umap")
ENDINGS = (".parquet", ".html")


@dataclass
class TextMap:
    """Texts and their places.

    Args:
        texts: N of them.
        points: (N, 2), x and y.
        projection: that gave the points, and gives others theirs.
        classes: of each text, or None.
    """

    texts: list[str]
    points: Tensor
    projection: PCAMap | UMAPMap
    classes: list[str] | None = None

    def table(self) -> pandas.DataFrame:
        """Columns `text`, `x`, `y` and, if there are classes, `label`."""
        x, y = self.points.T.numpy()
        columns = {"text": self.texts, "x": x, "y": y}
        return pandas.DataFrame(columns if self.classes is None else columns | {"label": self.classes})

    def page(self) -> str:
        """A page of HTML that needs nothing else: a text is shown where one points; needs plotly, an extra."""
        return map_page(self.texts, self.points, self.classes, self._titles())

    def save(self, path: str | Path) -> None:
        """Write the table (.parquet), which embedding-atlas opens, or the page (.html); a file there is replaced.

        Raises:
            InputError: for another ending, or if plotly, an extra, is not installed.
        """
        path = Path(path)
        check_ending(path)
        with whole_file(path) as place:
            if path.suffix.lower() == ".html":
                place.write_text(self.page(), encoding="utf-8")
            else:
                self.table().to_parquet(place, index=False)

    def _titles(self) -> tuple[str, str] | None:
        """Of the axes; those of a layout mean nothing."""
        if not isinstance(self.projection, PCAMap):
            return None
        first, second = (f"{share:.1%} of the variance" for share in self.projection.share.tolist())
        return f"first principal component, {first}", f"second, {second}"


def check_ending(path: Path) -> None:
    """Raises InputError if a map cannot be written to a file of this name."""
    if path.suffix.lower() not in ENDINGS:
        raise InputError(f"{path} has another ending than {' or '.join(ENDINGS)}: a map is a table or a page.")
    if path.suffix.lower() == ".html":
        require_plotly()


def make_map(
    codec: Codec,
    texts: Texts,
    method: str | PCAMap | UMAPMap,
    classes: Iterable[str] | None,
    seed: int,
    label: Label,
) -> TextMap:
    """The map of these texts, see `TextVAEPipeline.map`."""
    codec.check_has_z(LACKS)
    check_method(method)
    given, seed = as_many(texts) if isinstance(method, str) else as_list(texts)[0], whole("seed", seed, SEED)
    ids = codec.label_ids(label, len(given))
    labels = None if ids is None else [codec.model.config.label_names[i] for i in ids]
    if not isinstance(classes, str):
        classes = labels if classes is None else [*classes]
    if classes is not None and (isinstance(classes, str) or len(classes) != len(given)):
        raise InputError(f"classes is {shown(classes)}: give a list of one for each of the {len(given)} texts.")
    latents = torch.cat(list(each_chunk(codec, given, labels, codec.means)))
    if isinstance(method, str):
        method = PCAMap.fit(latents) if method == "pca" else UMAPMap.fit(latents, seed)
    return TextMap(given, method.transform(latents), method, None if classes is None else [*map(str, classes)])


def check_method(method: str | PCAMap | UMAPMap) -> None:
    """Raises InputError if this is neither the name of a method nor a map."""
    if isinstance(method, PCAMap | UMAPMap):
        return
    if not isinstance(method, str):
        raise InputError(f"method is {shown(method)}: give one of {', '.join(METHODS)}, or the projection of a map.")
    if method not in METHODS:
        raise InputError(f"There is no method {shown(method)}; did you mean {nearest(method, METHODS)!r}?")
