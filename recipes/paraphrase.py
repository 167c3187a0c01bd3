"""Paraphrase sentences: texts decoded from samples of each posterior, the nearest first.

python recipes/paraphrase.py runs/chitchat "I love listening to music at night." --num_return_sequences 5
python recipes/paraphrase.py runs/chitchat --file mine.txt
"""

from textvae.cli.main import run_recipe
from textvae.cli.write import paraphrase

if __name__ == "__main__":
    run_recipe(paraphrase, __doc__)
