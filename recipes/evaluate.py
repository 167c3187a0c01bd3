"""Evaluate a saved model on a file: bounds in nats, use of z, reconstruction. Prints a table; --output saves JSON.

accelerate launch recipes/evaluate.py runs/chitchat --file mine.txt --num_importance_samples 100 --output scores.json

Partial results are saved in scores.json.partial: after an interruption, the same command resumes from them.
"""

from textvae.cli.main import run_recipe
from textvae.cli.runs import evaluate

if __name__ == "__main__":
    run_recipe(evaluate, __doc__)
