"""Measure the speed and the memory of training and decoding, as ratios within one run.

python recipes/benchmark.py                                                    # the default config
python recipes/benchmark.py --config recipes/configs/ptb-transformer.yaml      # another config
python recipes/benchmark.py --encoder_name_or_path ENCODER --decoder_name_or_path DECODER --lora decoder

textvae.training.benchmark says what each line means.
"""

from textvae.cli.main import run_recipe
from textvae.cli.runs import benchmark

if __name__ == "__main__":
    run_recipe(benchmark, __doc__)
