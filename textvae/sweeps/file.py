"""A sweep file: runs that differ in a few settings, all checked before the first run starts."""

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from textwrap import shorten

from textvae.config_fields import from_names, nearest, read_yaml
from textvae.errors import InputError
from textvae.evaluation.config import EvaluationConfig
from textvae.training.config import CONFIG_FILE, TrainingConfig

DEFAULTS = {"output_dir": None, "seeds": [0], "language_model": None, "base": {}, "runs": {}, "evaluation": {}}
OF_THE_SWEEP = ("output_dir", "seed", "resume_from_checkpoint", "overwrite_output_dir")
# Settings without effect on the results: a run may be resumed with other values of them.
WITHOUT_EFFECT = {
    *("output_dir", "resume_from_checkpoint", "overwrite_output_dir", "logging_steps", "save_steps"),
    *("save_total_limit", "report_to", "dataloader_num_workers", "model_card_samples"),
    *("card_examples", "language", "license"),
}


@dataclass
class SweepRun:
    """One config with one seed."""

    name: str
    config: TrainingConfig

    @property
    def seed(self) -> int:
        return self.config.seed

    @property
    def directory(self) -> Path:
        return Path(self.config.output_dir)

    def __str__(self) -> str:
        return f"{self.name!r}, seed {self.seed}"


@dataclass
class Sweep:
    """The content of a sweep file.

    Attributes:
        runs: the runs of all seeds; those of the first seed come first, so that runs can soon be compared.
        language_model: the name of the run whose NLL the others are compared with.
        evaluation: options of `textvae.evaluation.evaluate`; all runs have the same seed, and so the same texts are
            chosen.
    """

    output_dir: Path
    runs: list[SweepRun]
    language_model: str | None
    evaluation: dict[str, int | None]

    def select(self, names: list[str] | None) -> list[SweepRun]:
        """The runs with these names, or all runs if `names` is None."""
        known = [one.name for one in self.runs]
        for name in names or []:
            if name not in known:
                raise InputError(f"--only names {name!r}, which is not a run; did you mean {nearest(name, known)!r}?")
        return [one for one in self.runs if names is None or one.name in names]


def read_sweep(path: str | Path, overrides: dict) -> Sweep:
    """Read a sweep from a YAML file; `overrides` replace the settings of every run, and also `output_dir` and `seed`.

    Raises:
        InputError: if the file or the settings of a run are wrong, or if the directory of a run holds a run with other
            settings.
    """
    values = _checked(read_yaml(path), path)
    overrides = dict(overrides)
    for name in ("resume_from_checkpoint", "overwrite_output_dir"):
        if name in overrides:
            raise InputError(f"A sweep resumes its runs by itself: leave --{name} out.")
    output_dir = Path(overrides.pop("output_dir", values["output_dir"]))
    seeds = [overrides.pop("seed")] if "seed" in overrides else values["seeds"]
    runs = []
    for seed in seeds:
        directories = {}
        for name, own in values["runs"].items():
            settings = _go_on(name, values["base"] | own, directories)
            directories[name] = str(output_dir / f"{_slug(name)}-seed{seed}")
            runs.append(_build(name, settings, overrides | {"seed": seed, "output_dir": directories[name]}))
    _check_directories(runs)
    _check_language_model(values["language_model"], runs)
    return Sweep(output_dir, runs, values["language_model"], {"seed": 0} | values["evaluation"])


def _checked(values: dict, path: str | Path) -> dict:
    """The values of the file, with their types checked and defaults filled in."""
    for name in values:
        if name not in DEFAULTS:
            raise InputError(f"{path}: a sweep has no setting {name!r}; did you mean {nearest(str(name), DEFAULTS)!r}?")
    values = DEFAULTS | values
    if not isinstance(values["output_dir"], str):
        raise InputError(f"{path} must name the output_dir of its runs.")
    for name in ("base", "runs", "evaluation"):
        if not isinstance(values[name], dict):
            raise InputError(f"{path} must give its {name} as lines of `name: value`.")
    if not values["runs"] or not all(isinstance(own or {}, dict) for own in values["runs"].values()):
        raise InputError(f"{path} must give its runs as lines of `name: {{setting: value}}`, at least one.")
    seeds = values["seeds"]
    if not isinstance(seeds, list) or not seeds or not all(type(s) is int for s in seeds) or len({*seeds}) < len(seeds):
        raise InputError(f"{path}: seeds is {seeds!r}, it must be a list of different whole numbers.")
    values["evaluation"] = _evaluation(values["evaluation"], path)
    return values | {"runs": {str(name): own or {} for name, own in values["runs"].items()}}


def _evaluation(options: dict, path: str | Path) -> dict:
    """The options that the file gives, converted to their types."""
    try:
        config = from_names(EvaluationConfig, options)
        return {name: getattr(config, name) for name in options}
    except InputError as error:
        raise InputError(f"{path}: in evaluation: {error}") from error


def _slug(name: str) -> str:
    return re.sub(r"[^\w.]+", "-", name.lower()).strip("-.") or "run"


def _go_on(name: str, settings: dict, earlier: dict[str, str]) -> dict:
    """Replace `after: RUN` by the saved model of that run; `earlier` maps the runs above to their directories."""
    after = settings.pop("after", None)
    if after is None:
        return settings
    if after not in earlier:
        raise InputError(f"The run {name!r} has after: {after!r}: give the name of a run above it in the file.")
    return settings | {"model_name_or_path": earlier[after]}


def _build(name: str, settings: dict, overrides: dict) -> SweepRun:
    for setting in OF_THE_SWEEP:
        if setting in settings:
            raise InputError(f"The run {name!r} sets {setting}, which the sweep decides itself: leave it out.")
    try:
        return SweepRun(name, TrainingConfig.from_dict(settings | overrides))
    except InputError as error:
        raise InputError(f"In the run {name!r}: {error}") from error


def _check_directories(runs: list[SweepRun]) -> None:
    """Raises InputError unless each run has a directory of its own, which is new or holds the same settings."""
    names = {}
    for one in runs:
        if (other := names.setdefault(one.directory, one.name)) != one.name:
            raise InputError(f"The runs {other!r} and {one.name!r} would share {one.directory}: rename one of them.")
        if (one.directory / CONFIG_FILE).exists():
            _check_settings(one)


def _check_settings(one: SweepRun) -> None:
    was = asdict(TrainingConfig.from_yaml(one.directory / CONFIG_FILE))
    now = {name: value for name, value in asdict(one.config).items() if name not in WITHOUT_EFFECT}
    changes = [f"{name} was {was[name]!r} and is now {now[name]!r}" for name in now if now[name] != was[name]]
    if changes:
        raise InputError(
            f"{one.directory} holds the run {one.name!r} with other settings ({shorten(', '.join(changes), 120)}): "
            "undo the change, rename the run, or remove that directory."
        )


def _check_language_model(name: str | None, runs: list[SweepRun]) -> None:
    found = [one for one in runs if one.name == name]
    if name is not None and not found:
        right = nearest(str(name), [one.name for one in runs])
        raise InputError(f"language_model names {name!r}, which is not a run; did you mean {right!r}?")
    if any(one.config.latent_injection for one in found):
        raise InputError(f"language_model names {name!r}, whose decoder uses z: give that run latent_injection: none.")
