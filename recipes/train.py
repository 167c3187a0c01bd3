"""Train a text VAE.

accelerate launch recipes/train.py                                                  # the embedded corpus
accelerate launch recipes/train.py --train_file mine.txt --output_dir runs/mine     # txt, csv, tsv, jsonl or parquet
accelerate launch recipes/train.py --config recipes/configs/tiny.yaml --max_steps 100
accelerate launch recipes/train.py --model_name_or_path runs/chitchat --train_file mine.txt --output_dir runs/tuned
accelerate launch recipes/train.py --resume_from_checkpoint latest                  # resume an interrupted run
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read as torch is loaded: a thread that waits leaves its core

from textvae.cli.arguments import parse_training_config
from textvae.cli.main import run
from textvae.training.train import train

if __name__ == "__main__":
    run(lambda: train(parse_training_config(__doc__)))
