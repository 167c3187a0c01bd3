"""Save a model and its base models as one directory with all weights in fp32 and the adapters merged.

python recipes/merge.py runs/adapted runs/merged
python recipes/merge.py runs/quantized runs/merged --dtype float32      # from the base model before quantization
"""

from textvae.cli.main import run_recipe
from textvae.cli.runs import merge

if __name__ == "__main__":
    run_recipe(merge, __doc__)
