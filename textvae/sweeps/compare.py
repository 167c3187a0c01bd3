"""Compare runs: a table and a rate–distortion plot of their results, in nats per text."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import NamedTuple

from textvae.errors import InputError
from textvae.evaluation import table

FINISHED = "finished"
MARKERS = "osD^vP<>Xph8"
ISO_NATS = (5, 10)  # light lines of the plot, at this distance above the language model


@dataclass
class Outcome:
    """The result of one run with one seed.

    Attributes:
        name: the name of the run, the same for all its seeds.
        state: `finished`, or the state of an unfinished run.
        results: the report of `evaluate`, and `steps`, `training_seconds` and `num_parameters`; empty unless finished.
    """

    name: str
    seed: int
    state: str
    results: dict[str, float] = field(default_factory=dict)

    @property
    def is_finished(self) -> bool:
        return self.state == FINISHED


class Column(NamedTuple):
    title: str
    key: str  # in `results`
    decimals: int
    unit: float = 1
    has_error: bool = True


COLUMNS = (
    Column("IW-NLL", "iw_nll", 2),
    Column("PPL per word", "perplexity_word", 2),
    Column("−ELBO", "negative_elbo", 2),
    Column("KL (rate)", "kl", 2),
    Column("reconstruction (distortion)", "reconstruction", 2),
    Column("MI", "mutual_information", 2),
    Column("AU", "active_units", 1),
    Column("BLEU", "bleu", 2),
    Column("gap to LM", "gap", 2),
    Column("parameters (M)", "num_parameters", 2, unit=1e6, has_error=False),
    Column("training (min)", "training_seconds", 1, unit=60, has_error=False),
    Column("steps", "steps", 0, has_error=False),
)


def mean_of(outcomes: Sequence[Outcome], name: str | None, key: str) -> float | None:
    """A result averaged over the finished seeds of the run `name`; None if no seed is finished."""
    values = [outcome.results[key] for outcome in outcomes if outcome.name == name and outcome.is_finished]
    return fmean(values) if values else None


def add_gap(outcomes: Sequence[Outcome], language_model: str | None) -> None:
    """Add a `gap` to every finished run: its `iw_nll` minus the mean `iw_nll` of the run `language_model`."""
    nll = mean_of(outcomes, language_model, "iw_nll")
    for outcome in outcomes:
        if outcome.is_finished and nll is not None:
            outcome.results["gap"] = outcome.results["iw_nll"] - nll


# the tables


def as_markdown(outcomes: Sequence[Outcome]) -> str:
    """A table with a row per run, averaged over seeds, in the order of first appearance; its caption explains ±."""
    titles = ["run", *(column.title for column in COLUMNS)]
    rows = [_row(group) for group in _groups(outcomes)]
    return f"{table.as_markdown(titles, rows, right=True)}\n\n{_caption(outcomes)}"


def _groups(outcomes: Sequence[Outcome]) -> list[list[Outcome]]:
    names = dict.fromkeys(outcome.name for outcome in outcomes)
    return [[outcome for outcome in outcomes if outcome.name == name] for name in names]


def _row(group: list[Outcome]) -> list[str]:
    finished = [outcome for outcome in group if outcome.is_finished]
    unfinished = [outcome for outcome in group if not outcome.is_finished]
    name, state = _in_a_cell(group[0].name), _in_a_cell(_state_of(unfinished, len(group)))
    if not finished:
        return [name, state, *[""] * (len(COLUMNS) - 1)]
    return [f"{name} ({state})" if state else name, *(_cell(column, finished) for column in COLUMNS)]


def _state_of(unfinished: list[Outcome], num_seeds: int) -> str:
    """The states of the unfinished seeds of a run, or a single state if all seeds have the same."""
    states = {one.state for one in unfinished}
    if len(states) == 1 and len(unfinished) == num_seeds:
        return states.pop()
    return "; ".join(f"seed {one.seed}: {one.state}" for one in unfinished)


def _in_a_cell(text: str) -> str:
    return " ".join(text.replace("|", "∣").split())


def _cell(column: Column, finished: list[Outcome]) -> str:
    measured = [outcome.results for outcome in finished if column.key in outcome.results]
    if not measured:
        return "–"
    shown = f"{fmean(results[column.key] / column.unit for results in measured):,.{column.decimals}f}"
    error = _error(column, measured)
    return shown if error is None else f"{shown} ± {error:,.{column.decimals}f}"


def _error(column: Column, measured: list[dict[str, float]]) -> float | None:
    """Half the range over the seeds; for a single seed the standard error over the texts, if it is known.

    Args:
        measured: the results of the seeds that have this value.
    """
    if not column.has_error:
        return None
    if len(measured) > 1:
        values = [results[column.key] / column.unit for results in measured]
        return (max(values) - min(values)) / 2
    return measured[0].get(f"{column.key}_standard_error")


def _caption(outcomes: Sequence[Outcome]) -> str:
    several = len({outcome.seed for outcome in outcomes}) > 1
    spread = "half the range over the seeds, or for a single seed " if several else ""
    return (
        f"Nats per text; ± is {spread}the standard error over the texts. "
        "The gap is the difference to the IW-NLL of the language model (LM)."
    )


def as_csv(outcomes: Sequence[Outcome]) -> str:
    """CSV with a line per run and seed, and every result in full precision."""
    return table.as_csv([{"run": one.name, "seed": one.seed, "state": one.state, **one.results} for one in outcomes])


# the plot


def require_matplotlib() -> None:
    """Raises InputError if matplotlib is not installed."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise InputError("The plot needs the package matplotlib: pip install 'textvae[recipes]'.") from error


def rate_distortion(outcomes: Sequence[Outcome], language_model: str | None):
    """Rate (KL) against distortion (reconstruction) of every finished run, as in Alemi et al. 2018, figure 3.

    With several seeds, a large marker is the mean of a run, and small ones of its colour are the seeds. The run
    `language_model` is the point (0, NLL), and a dashed line shows where −ELBO = R + D equals its NLL.

    Returns:
        a `matplotlib.figure.Figure`.

    Raises:
        InputError: if matplotlib is not installed.
    """
    require_matplotlib()
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    axes = figure.add_subplot()
    # The −ELBO of a language model is its exact NLL on all texts; `iw_nll` may cover only some of them.
    nll = mean_of(outcomes, language_model, "negative_elbo")
    groups = [[one for one in group if one.is_finished] for group in _groups(outcomes)]
    groups = [group for group in groups if group and group[0].name != language_model]
    _set_limits(axes, [one for group in groups for one in group], nll)
    if nll is not None:
        _draw_language_model(axes, nll)
    for number, group in enumerate(groups):
        _draw_run(axes, group, colormaps["tab10"](number % 10), MARKERS[number % len(MARKERS)])
    axes.set_xlabel("rate: KL(q(z|x) ‖ p(z)), nats per text")
    axes.set_ylabel("distortion: −log p(x|z), nats per text")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False, fontsize=8, handlelength=3.5)
    return figure


def _set_limits(axes, points: list[Outcome], nll: float | None) -> None:
    rates = [0.0, *(one.results["kl"] for one in points)]
    distortions = [one.results["reconstruction"] for one in points] + ([] if nll is None else [nll])
    width, height = (max(max(values) - min(values), 1.0) for values in (rates, distortions or [0.0]))
    axes.set_xlim(-0.04 * width, max(rates) + 0.08 * width)
    axes.set_ylim(min(distortions, default=0) - 0.08 * height, max(distortions, default=0) + 0.12 * height)


def _draw_language_model(axes, nll: float) -> None:
    label = f"language model: R + D = {nll:,.1f} nats"
    axes.axline((0, nll), slope=-1, color="black", linestyle="--", linewidth=1.1, zorder=1)
    # A single point draws no line, but the legend shows it.
    axes.plot(0, nll, marker="*", markersize=10, color="black", linestyle="--", linewidth=1.1, zorder=4, label=label)
    for nats in ISO_NATS:
        axes.axline((0, nll + nats), slope=-1, color="0.8", linewidth=0.8, zorder=0)
        _name_line(axes, nll + nats, f"+{nats} nats")


def _name_line(axes, total: float, text: str) -> None:
    """Write a small text on the line R + D = `total`, at the edge of the plot."""
    (_, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    distortion = max(total - right, bottom)
    if distortion < top:
        place = (total - distortion, distortion)
        style = {"ha": "right", "va": "bottom", "fontsize": 7, "color": "0.55", "zorder": 0}
        slope = {"rotation": -45, "rotation_mode": "anchor", "transform_rotates_text": True}
        axes.annotate(text, place, xytext=(-4, 8), textcoords="offset points", **style, **slope)


def _draw_run(axes, group: list[Outcome], color, marker: str) -> None:
    rates, distortions = ([one.results[key] for one in group] for key in ("kl", "reconstruction"))
    if len(group) > 1:
        axes.plot(rates, distortions, marker=marker, color=color, linestyle="none", markersize=3.5, alpha=0.45)
    style = {"linestyle": "none", "markersize": 7, "markeredgecolor": "white", "markeredgewidth": 0.6, "zorder": 3}
    axes.plot(fmean(rates), fmean(distortions), marker=marker, color=color, label=group[0].name, **style)
