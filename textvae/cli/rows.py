"""The rows that a measurement prints as they come, and keeps in a CSV file."""

from collections.abc import Mapping
from pathlib import Path

from textvae.cli.arguments import Parser
from textvae.files import check_place, write_whole


def add_rows(parser: Parser) -> None:
    """Add the flag of the file that `Rows` are kept in."""
    parser.add_argument("--output", help="write the rows to this CSV file, too")


class Rows:
    """Rows with the same columns: each is printed as a line of a Markdown table when it is added.

    The CSV file, if there is one, is written anew with each row, in full precision and with the standard errors, which
    are not printed.

    Args:
        decimals: of the numbers of a column; 3 unless given.

    Raises:
        InputError: if the file cannot be written.
    """

    def __init__(self, output: str | None, decimals: Mapping[str, int] | None = None):
        self.output = Path(output) if output else None
        self.decimals = decimals or {}
        self.rows: list[dict[str, str | float]] = []
        if self.output is not None:
            check_place(self.output)

    def add(self, row: dict[str, str | float]) -> None:
        from textvae.evaluation.metrics import STANDARD_ERROR
        from textvae.evaluation.table import as_csv, as_markdown
        from textvae.processes import say

        self.rows.append(row)
        shown = [name for name in row if not name.endswith(STANDARD_ERROR)]
        lines = as_markdown(shown, [[self._cell(name, row[name]) for name in shown]]).split("\n")
        say("\n".join(lines if len(self.rows) == 1 else lines[-1:]))
        if self.output is not None:
            write_whole(self.output, as_csv(self.rows))

    def _cell(self, name: str, value: str | float) -> str:
        return f"{value:.{self.decimals.get(name, 3)}f}" if isinstance(value, float) else str(value)
