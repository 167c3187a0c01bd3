"""Runs that differ in a few settings: the sweep file, the runs, and how they compare.

A sweep file (YAML) names the settings that all runs share (`base`), what differs in each (`runs`), the `seeds`, and
how each run is measured (`evaluation`). `language_model` names the run that the likelihoods of the others are compared
with; `after` starts a run from the model of an earlier one. All settings are checked before the first run starts.

    python recipes/sweep.py recipes/configs/ptb-techniques.yaml --train_file ptb.train.txt \\
        --validation_file ptb.valid.txt --test_file ptb.test.txt

It writes one table (`table.md`, `table.csv`) and one rate–distortion plot. After an interruption the same command goes
on: finished runs are left alone, an unfinished run goes on from its latest checkpoint, and a failed run is tried
again. `--only NAME` runs some of them, `--list` shows their state, `--table` writes the table of what is finished.
Flags of `train.py` override the settings of every run.
"""

from textvae.sweeps.compare import Outcome
from textvae.sweeps.file import Sweep, read_sweep

__all__ = ["Outcome", "Sweep", "read_sweep"]
