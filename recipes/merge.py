"""Write a model that was trained on top of others as one plain directory: all weights, in fp32, adapters merged.

python recipes/merge.py runs/adapted runs/merged
python recipes/merge.py runs/quantized runs/merged --dtype float32      # the base as it was before it was quantized
"""

import argparse

from textvae import TextVAEPipeline
from textvae.cli.main import run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a directory that train.py wrote with freeze_encoder, freeze_decoder or lora")
    parser.add_argument("output_dir")
    parser.add_argument("--dtype", default="auto", choices=["auto", "float32"], help="of the base, as it is opened")
    arguments = parser.parse_args()
    pipeline = TextVAEPipeline.from_pretrained(arguments.model, device="cpu", dtype=arguments.dtype)
    pipeline.merge_and_save(arguments.output_dir)


if __name__ == "__main__":
    run(main)
