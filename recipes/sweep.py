"""Train a list of configs one after the other, evaluate each, and compare them in a table and a rate–distortion plot.

python recipes/sweep.py recipes/configs/ptb-techniques.yaml \\
    --train_file ptb.train.txt --validation_file ptb.valid.txt --test_file ptb.test.txt
python recipes/sweep.py SWEEP.yaml … --only "free bits 0.25" "language model"   # these runs only
python recipes/sweep.py SWEEP.yaml … --list                                     # the state of each run
python recipes/sweep.py SWEEP.yaml … --table                                    # table and plot of the finished runs

The file lists the runs and their settings. Flags of train.py override the settings of every run; --output_dir and
--seed override the output_dir and the seeds of the file:

    output_dir: runs/mine
    seeds: [0, 1]                     # every run is trained once per seed; default [0]
    base: {latent_size: 32}           # settings of all runs; those of a run override them, flags override both
    runs:
      language model: {latent_injection: none}
      free bits 0.25: {free_bits: 0.25}
      averaged: {after: free bits 0.25, weight_averaging: swa, num_train_epochs: 5}  # from the model of that run
    language_model: language model    # optional: the run whose NLL is the baseline
    evaluation: {num_importance_samples: 50, num_importance_texts: 1000, num_reconstructed_texts: 500, batch_size: 64}

Every run is saved in `output_dir/NAME-seedN`. After an interruption, the same command resumes the sweep: finished runs
are kept, unfinished runs resume from their latest checkpoint, and failed runs are tried again. The table shows the
results on --test_file (`test.json` of each run), or without it those on the validation texts (`metrics.json`). If a run
fails (for example with a NaN loss), the table shows the reason, the next run starts, and the exit code is 1 at the end.
"""

from textvae.cli.main import run_recipe
from textvae.cli.runs import sweep

if __name__ == "__main__":
    run_recipe(sweep, __doc__)
