"""The command line: `textvae`, also as `python -m textvae`, and the same commands as recipes.

    textvae --help
    textvae paraphrase runs/chitchat "It was really nice to meet you."
    cat mine.txt | textvae score runs/chitchat | sort -g | tail
    textvae encode runs/chitchat --file 'wiki/**/*.jsonl.zst' --text_column body --output codes.parquet
    textvae interpolate runs/chitchat --file pairs.tsv --start_column from --end_column to --output walks.jsonl
    accelerate launch -m textvae train --train_file mine.txt --output_dir runs/mine

Texts come from arguments, from `--file` (all formats that training reads, patterns and directories too) or, without
either, from standard input, one a line. They are read and written part by part, so that any number of them needs little
memory: a batch first, whose results come at once, then 16 batches at a time. The results are, line by line, those of
the verb of `TextVAEPipeline` with the same name, arguments and seed. Only words that are drawn (`--do_sample`) depend
on the parts too. The seed is 0 unless `--seed` is given.

`index` and `map` read all texts first, as one result is made of them: a directory that `neighbours --corpus` opens, or
a page (.html) or a table (.parquet).

`fit_prior` adds one file to a model's directory; what else is fitted by flags (`edit --positive`, `detect --normal`) is
not kept.

A blank line of standard input is refused, and the error names the line, so that line n of the results belongs to line n
of the input. Of files, rows with a blank are left out, as in training, and their number is told.

Results are lines of text, JSON (`.jsonl`) or a table (`.tsv`), as `--format` or the ending of `--output` says. In text
and tables a line break inside a text becomes a space; JSON keeps it. `encode` also writes `.npy`, `.safetensors` and
`.parquet`, which `decode` reads. An output is FILE.partial until it is complete. It is never replaced without
`--overwrite`. `--resume` counts the results in it, skips as many texts of the same input, and goes on; the result is
that of one run. A file of vectors cannot be continued.

Messages and the progress bar go to standard error, the bar only where that is a terminal. What cannot be used is one
sentence and exit code 2; a reader that goes, such as `head`, ends a command silently. An `OSError` (a full disk, a
cache that cannot be written) becomes such a sentence in `main.sentences`, and nowhere else.

Every field of `TrainingConfig` is a flag of `train`. Flags win over the YAML file of `--config`.

Completion in bash, zsh or tcsh, by shtab (`pip install 'textvae[completion]'`), for example:

    shtab --shell bash textvae.cli.main.full_parser | sudo tee /etc/bash_completion.d/textvae

A new sub-command is a line in `main.COMMANDS` and a function. The function adds arguments to a parser and returns what
does the work with them. The first line of its docstring stands in `textvae --help`, all of it in its own help, where a
test runs the example. Imports that need torch stand inside functions, so that help is there at once.
"""

from textvae.cli.main import run, run_recipe

__all__ = ["run", "run_recipe"]
