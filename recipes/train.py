"""Train a text VAE.

accelerate launch recipes/train.py                                                  # the embedded corpus
accelerate launch recipes/train.py --train_file mine.txt --output_dir runs/mine     # txt, csv, tsv, jsonl or parquet
accelerate launch recipes/train.py --config recipes/configs/tiny.yaml --max_steps 100
accelerate launch recipes/train.py --model_name_or_path runs/chitchat --train_file mine.txt --output_dir runs/tuned
accelerate launch recipes/train.py --resume_from_checkpoint latest                  # resume an interrupted run
"""

from textvae.cli.main import run_recipe
from textvae.cli.runs import train

if __name__ == "__main__":
    run_recipe(train, __doc__)
