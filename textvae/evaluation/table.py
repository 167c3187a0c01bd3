"""Results as tables: Markdown and CSV."""

from collections.abc import Sequence

import pandas

from textvae.evaluation.metrics import STANDARD_ERROR

# The sign ∣ stands for “given”: a plain | would end the cell of a Markdown table.
EXPLAINED = {
    "negative_elbo": "−ELBO, 1 sample, nats per text",
    "iw_nll": "−log p(x), importance-weighted bound, nats per text",
    "kl": "KL(q(z∣x) ‖ p(z)), the rate, nats per text",
    "reconstruction": "−log p(x∣z), the distortion, nats per text",
    "fitted_negative_elbo": "−ELBO with the fitted prior, nats per text",
    "fitted_iw_nll": "the importance-weighted bound with the fitted prior, nats per text",
    "fitted_kl": "KL(q(z∣x) ‖ fitted prior), nats per text",
    "mutual_information": "I(x; z), aggregated posterior, nats",
    "minibatch_mutual_information": "I(x; z) in batches of 32, only for comparison with papers that report it",
    "active_units": "units with Var(E[z∣x]) ≥ 0.01",
    "shuffle_gap": "nats that reconstruction loses when z is shuffled among the texts",
    "zero_gap": "nats that it loses when z is zero",
    "mean_gap": "nats that it loses when z is the mean of all texts",
    "noise_gap": "nats that it loses when z is a draw of the prior",
    "perplexity_token": "per token, EOS counted, from iw_nll",
    "perplexity_word": "per word (in Chinese, say, per character), EOS counted, from iw_nll",
    "exact_match": "share of texts written back exactly as they were given",
    "bleu": "of texts written back greedily from the posterior mean",
    "distinct_samples": "share of prior samples that differ",
    "distinct_2_samples": "share of distinct word bigrams in prior samples",
    "distinct_2_held_out": "the same in held-out texts",
    "fluency_samples": "nats per token of the judge, prior samples",
    "fluency_reconstructions": "the same of reconstructions",
    "fluency_held_out": "the same of held-out texts",
    "mauve_samples": "MAUVE of prior samples and held-out texts",
    "mauve_walks": "the same of texts midway between two held-out ones",
    "mauve_held_out": "the same of other held-out texts, which is the ceiling",
    "walk_mean_step": "1 − cosine of neighbours on walks of 7 texts, mean",
    "walk_worst_step": "the same of the two that are farthest apart on each walk",
    "walk_ends": "cosine of the ends of walks with the texts that they join",
    "walk_distinct": "share of distinct texts on a walk",
}


def as_markdown(titles: Sequence[str], rows: Sequence[Sequence[str]], right: bool = False) -> str:
    """A Markdown table; all columns but the first are aligned to the right if `right`."""
    line = ["---"] + ["---:" if right else "---"] * (len(titles) - 1)
    cells = [f"| {' | '.join(row)} |" for row in (titles, *rows)]
    return "\n".join([cells[0], f"|{'|'.join(line)}|", *cells[1:]])


def as_csv(rows: Sequence[dict]) -> str:
    """A line for each row, with every number in full precision; a missing value is empty."""
    return pandas.DataFrame(rows, dtype=object).to_csv(index=False, lineterminator="\n")


def report_table(report: dict) -> str:
    """The explained values of a report as a Markdown table, and below it the counts that they rest on."""
    return f"{as_markdown(['', '', ''], explained(report))}\n\n{counts(report)}"


def explained(report: dict) -> list[tuple[str, str, str]]:
    """Name, value and meaning of each explained value of a report."""
    return [(name, _value(report, name), text) for name, text in EXPLAINED.items() if name in report]


def counts(report: dict) -> str:
    """The counts that the values of a report rest on, by name."""
    others = [name for name in report if name not in EXPLAINED and not name.endswith(STANDARD_ERROR)]
    return ", ".join(f"{name} {_number(report[name])}" for name in others)


def _value(report: dict, name: str) -> str:
    """`value ± standard error`, if there is one, with as many decimals as the value."""
    value, error = report[name], report.get(name + STANDARD_ERROR)
    return _number(value) if error is None else f"{_number(value)} ± {error:,.{_decimals(value)}f}"


def _number(value: float) -> str:
    return f"{value:,.{_decimals(value)}f}" if isinstance(value, float) else f"{value:,}"


def _decimals(value: float) -> int:
    return 3 if isinstance(value, float) and value < 1 else 2
