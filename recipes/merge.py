"""Save a model and its base models as one directory with all weights in fp32 and the adapters merged.

python recipes/merge.py runs/adapted runs/merged
python recipes/merge.py runs/quantized runs/merged --dtype float32      # from the base model before quantization
"""

import argparse
from pathlib import Path

from textvae import TextVAEPipeline
from textvae.cli.main import run
from textvae.files import check_directory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a directory that train.py wrote with freeze_encoder, freeze_decoder or lora")
    parser.add_argument("output_dir")
    parser.add_argument("--dtype", default="auto", choices=["auto", "float32"], help="dtype to open the base models in")
    arguments = parser.parse_args()
    check_directory(Path(arguments.output_dir))
    pipeline = TextVAEPipeline.from_pretrained(arguments.model, device="cpu", dtype=arguments.dtype)
    pipeline.merge_and_save(arguments.output_dir)


if __name__ == "__main__":
    run(main)
