"""Names of transformers that are private, or not the same in all versions: they are used here only.

Each has a test of its own, which fails if a new version changes it.
"""

from collections.abc import Callable
from typing import cast

import transformers
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.utils.hub import cached_file, get_checkpoint_shard_files

# The name of a decoder's cache: `cache` from 5.24 on, `past_key_values` before. The models of textvae accept both.
CACHE_NAME = "cache" if "cache" in CausalLMOutputWithPast.__dataclass_fields__ else "past_key_values"


def hub_file(name: str, file: str, **where) -> str | None:
    """The path of a file of a directory or of a model on the Hub; None if it has no such file.

    Args:
        where: on the Hub, as `from_pretrained` takes it: `revision`, `cache_dir`, …
    """
    return cached_file(name, file, _raise_exceptions_for_missing_entries=False, **where)


def shard_files(name: str, index: str, **where) -> list[str]:
    """The paths of all files that the index of a sharded checkpoint names."""
    return sorted(cast("list[str]", get_checkpoint_shard_files(name, index, **where)[0]))


def checkpointing_layers(module: nn.Module) -> list[GradientCheckpointingLayer]:
    """The layers of a module that can recompute their activations."""
    return [layer for layer in module.modules() if isinstance(layer, GradientCheckpointingLayer)]


def recomputes(layer: nn.Module) -> bool:
    """Whether a layer recomputes its activations in the backward pass."""
    return isinstance(layer, GradientCheckpointingLayer) and layer.gradient_checkpointing


def enable_checkpointing(model: PreTrainedModel) -> None:
    """Let all layers that can recompute their activations in the backward pass."""
    # Without reentry a layer whose input has no gradient still gives one to its own weights.
    how = {"use_reentrant": False}
    # The old name warns since 5.23, and goes with 6.
    if tuple(int(number) for number in transformers.__version__.split(".")[:2]) >= (5, 23):
        model.activation_checkpointing_enable(how)
    else:
        model.gradient_checkpointing_enable(how)
    model.disable_input_require_grads()  # with it a frozen encoder would keep its activations


def set_checkpointing(layer: GradientCheckpointingLayer, enabled: bool, function: Callable) -> None:
    """Let one layer recompute its activations by a function of its own, or not."""
    layer.gradient_checkpointing = enabled
    layer._gradient_checkpointing_func = function  # pyright: ignore[reportArgumentType]


def keep_weights(part: PreTrainedModel) -> None:
    """Keep the initialization of a model around `part` from drawing its weights again.

    transformers marks the weights that it has loaded; those of a layer that was resized since have no mark before 5.23.
    """
    for one in (*part.modules(), *part.parameters()):
        setattr(one, "_is_hf_initialized", True)  # noqa: B010  pyright does not know the name
