"""The command `textvae`: its sub-commands, and one sentence and exit code 2 for what cannot be used."""

import argparse
import atexit
import io
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from textvae import __version__
from textvae.cli.arguments import Parser
from textvae.cli.corpus import draw_map, index, neighbours
from textvae.cli.fitted import analogy, detect, edit, fit_prior
from textvae.cli.read import encode, score
from textvae.cli.report import report
from textvae.cli.runs import benchmark, evaluate, merge, sweep, train
from textvae.cli.write import decode, denoise, infill, interpolate, paraphrase, reconstruct, sample, traverse
from textvae.config_fields import nearest
from textvae.errors import InputError
from textvae.files import brief

# Adds its arguments to a parser, and gives the function that does the work with them.
Command = Callable[[Parser], Callable[[argparse.Namespace], object]]

COMMANDS: dict[str, Command] = {
    "train": train,
    "evaluate": evaluate,
    "encode": encode,
    "decode": decode,
    "reconstruct": reconstruct,
    "sample": sample,
    "interpolate": interpolate,
    "traverse": traverse,
    "paraphrase": paraphrase,
    "infill": infill,
    "edit": edit,
    "analogy": analogy,
    "denoise": denoise,
    "score": score,
    "detect": detect,
    "index": index,
    "neighbours": neighbours,
    "map": draw_map,
    "report": report,
    "fit_prior": fit_prior,
    "sweep": sweep,
    "benchmark": benchmark,
    "merge": merge,
}


def main(words: Sequence[str] | None = None) -> None:
    """Run the sub-command that these words name, by default those of the command line."""
    wait_briefly()
    with sentences():
        work = read_command(sys.argv[1:] if words is None else list(words))
        quiet_libraries()
        work()


def run(work: Callable[[], object]) -> None:
    """Call `work`; an `InputError` or `OSError` becomes one sentence on stderr and exit code 2."""
    wait_briefly()
    with sentences():
        quiet_libraries()
        work()


def run_recipe(command: Command, description: str | None) -> None:
    """Run a sub-command as a recipe, whose docstring is the description."""
    parser = Parser(prog=f"python {sys.argv[0]}", description=description)

    def work() -> None:
        function = command(parser)
        function(parser.parse_args())

    run(work)


def read_command(words: list[str]) -> Callable[[], object]:
    """What these words ask for, as a function without arguments.

    Raises:
        InputError: for an unknown sub-command or flag, with the nearest right one, and for what is missing.
    """
    name = words[0] if words else ""
    if name and not name.startswith("-") and name not in COMMANDS:
        raise InputError(f"There is no command {name!r}; did you mean {nearest(name, COMMANDS)!r}?")
    parser, commands = make_parser([name])
    arguments = commands[name].parse_args(words[1:]) if name in commands else parser.parse_known_args(words)[0]
    return lambda: arguments.work(arguments)


def make_parser(filled: Sequence[str] = tuple(COMMANDS)) -> tuple[Parser, dict[str, Parser]]:
    """The parser of `textvae` and those of its sub-commands, of which only the `filled` ones have their arguments.

    Those of `train` are read from its config, which needs torch.
    """
    parser = Parser(prog="textvae", description="Text VAEs: train them, and read and write texts with them.")
    parser.add_argument("--version", action="version", version=f"textvae {__version__}")
    group = parser.add_subparsers(metavar="COMMAND", required=True, title="commands")
    commands = {}
    for name, command in COMMANDS.items():
        said = command.__doc__ or ""
        own = group.add_parser(name, help=said.splitlines()[0].rstrip("."), description=unindented(said))
        if name in filled:
            own.set_defaults(work=command(own))
        commands[name] = own
    return parser, commands


def full_parser() -> Parser:
    """The parser of all sub-commands, from which a tool such as shtab makes completions."""
    return make_parser()[0]


def unindented(docstring: str) -> str:
    """A docstring without the indentation of its lines."""
    return "\n".join(line.removeprefix("    ") for line in docstring.strip().splitlines())


def wait_briefly() -> None:
    """Let threads that wait soon leave their core to others, unless you chose otherwise; torch reads it as it loads."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # of GNU's OpenMP; no spinning at all costs more


def quiet_libraries() -> None:
    """Leave it to this package to speak, on the main process; this must be done before anything uses Accelerate."""
    import datasets
    import transformers

    from textvae.processes import this_process

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    datasets.utils.logging.set_verbosity(logging.CRITICAL)  # its errors become an InputError
    state = this_process()
    logging.basicConfig(format="%(message)s", level=logging.WARNING if state.is_main_process else logging.ERROR)
    logging.getLogger("accelerate.utils").setLevel(logging.ERROR)  # speaks of tied weights at every checkpoint
    atexit.register(state.destroy_process_group)


@contextmanager
def sentences() -> Iterator[None]:
    """A context in which what is not a bug ends the process with one sentence on stderr and exit code 2."""
    for stream in (sys.stdout, sys.stderr):  # `--help` on a terminal that is not in UTF-8
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        yield
    except InputError as error:
        if os.environ.get("RANK", "0") == "0":  # of several processes the main one
            print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:  # the reader of our output, such as `head`, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except OSError as error:
        print(f"error: {_sentence(error)}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def _sentence(error: OSError) -> str:
    """One sentence about a file that cannot be read or written, a full disk, or a Hub that does not answer."""
    if error.filename is None or error.strerror is None:
        return f"{brief(error)}: check that all files and directories can be read and written."
    return (
        f"{error.filename} cannot be read or written ({error.strerror}): check its path, its permissions and the space "
        "on its disk."
    )
