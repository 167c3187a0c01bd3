"""Interpolate between two sentences.

python recipes/interpolate.py runs/chitchat "I love music." "Where do you come from?" --num_steps 9 --path spherical
"""

from textvae.cli.main import run_recipe
from textvae.cli.write import interpolate

if __name__ == "__main__":
    run_recipe(interpolate, __doc__)
