"""Controls: the decoding controls of Hugging Face's `generate` that a verb was given, checked before any work.

B batch · T length so far · V vocabulary
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from textwrap import shorten
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessorList, PreTrainedTokenizerBase, StoppingCriteriaList

from textvae.config_fields import COUNT, NOT_NEGATIVE, POSITIVE, SHARE, Range, flag, nearest, number, whole
from textvae.data.corpora import check_strings
from textvae.data.tokenizer_pair import TokenizerPair
from textvae.errors import InputError, shown
from textvae.evaluation.quality import BEAMS
from textvae.modeling.autoencoder import TextVAEModel
from textvae.modeling.families import num_positions

# Beyond these a softmax in fp32 overflows.
_FACTOR = Range("from 0.000001 to 1000000", lambda value: 1e-6 <= value <= 1e6)
_EXPONENT = Range("from -10 to 10", lambda value: -10 <= value <= 10)
_SHARE_ABOVE_0 = Range("above 0, and at most 1", lambda value: 0 < value <= 1)
_WHOLE = {
    **dict.fromkeys(("num_beams", "num_return_sequences", "max_new_tokens"), COUNT),
    **dict.fromkeys(("min_length", "min_new_tokens", "top_k", "no_repeat_ngram_size"), NOT_NEGATIVE),
    "max_length": Range("at least 2, as it counts BOS", lambda value: value >= 2),
}
_NUMBERS = {
    **dict.fromkeys(("temperature", "repetition_penalty"), _FACTOR),
    **dict.fromkeys(("top_p", "min_p", "epsilon_cutoff", "eta_cutoff"), SHARE),
    **dict.fromkeys(("typical_p", "top_h"), _SHARE_ABOVE_0),
    "length_penalty": _EXPONENT,
    "max_time": POSITIVE,
}
_FLAGS = ("do_sample", "use_cache", "renormalize_logits", "remove_invalid_values")
_TOKENS = ("suppress_tokens", "begin_suppress_tokens", "forced_bos_token_id", "forced_eos_token_id", "eos_token_id")
_LISTS_OF_FUNCTIONS = ("logits_processor", "stopping_criteria")
_FUNCTIONS = (*_LISTS_OF_FUNCTIONS, "prefix_allowed_tokens_fn")
_CHECKED = (*_WHOLE, *_NUMBERS, *_FLAGS, *_TOKENS, *_FUNCTIONS, "stop_strings")
_CHOOSING = ("num_beams", "do_sample")  # how words are chosen
_CHOOSING_TOO = ("generation_config", "num_candidates", "num_return_sequences")
_OF_VERBS = ("num_candidates", "seed", "batch_size", "progress", "label", "generation_config")

# Of a `GenerationConfig`, but no controls of a verb, and why.
_REFUSED = {
    "the verbs return texts": (
        *("output_attentions", "output_hidden_states", "output_logits", "output_scores", "return_dict_in_generate"),
        "streamer",
    ),
    "it needs code that is not part of transformers": (
        *("constraints", "custom_generate", "diversity_penalty", "dola_layers", "force_words_ids", "low_memory"),
        *("num_beam_groups", "penalty_alpha", "trust_remote_code"),
    ),
    "a text VAE writes without an assistant or a prompt": (
        *(
            "assistant_confidence_threshold",
            "assistant_early_exit",
            "assistant_ensemble_weight",
            "assistant_lookbehind",
        ),
        *("assistant_model", "assistant_tokenizer", "encoder_no_repeat_ngram_size", "encoder_repetition_penalty"),
        *("guidance_scale", "is_assistant", "max_matching_ngram_size", "negative_prompt_attention_mask"),
        *("negative_prompt_ids", "num_assistant_tokens", "num_assistant_tokens_schedule", "prefill_chunk_size"),
        *("prompt_lookup_num_tokens", "speculation_type", "target_lookbehind", "token_healing", "use_mtp"),
    ),
    "the pipeline sees to it": (
        *("attention_mask", "bos_token_id", "cache", "cache_config", "cache_implementation", "compile_config"),
        *("continuous_batching_config", "decoder_input_ids", "decoder_start_token_id", "disable_compile", "input_ids"),
        *("inputs", "inputs_embeds", "label_ids", "latents", "max_cache_len", "pad_token_id", "past_key_values"),
        *("synced_gpus", "tokenizer"),
    ),
}
_REASONS = {name: reason for reason, names in _REFUSED.items() for name in names}
_KEPT_BY_MODEL = ("bos_token_id", "decoder_start_token_id", "pad_token_id", "transformers_version")

Processor = Callable[[Tensor, Tensor], Tensor]  # (B, T) ids and (B, V) scores → scores


class Controls(NamedTuple):
    """What `generate` is given.

    Attributes:
        config: every control that is a value.
        functions: those that are functions, by their names in `generate`.
        draws: whether random numbers may be drawn, for words or in a function.
        unchecked: names of those that only transformers can check.
    """

    config: GenerationConfig
    functions: dict[str, Any]
    draws: bool
    unchecked: list[str]

    def arguments(self, rows: Sequence[int], steering: Sequence[Processor] = ()) -> dict[str, Any]:
        """Arguments of `generate` for the z with these indices, with more logits processors."""
        own = [_refuse_overflow(rows), *steering, *self.functions.get("logits_processor", [])]
        return {**self.functions, "generation_config": self.config, "logits_processor": LogitsProcessorList(own)}

    @contextmanager
    def named_errors(self) -> Iterator[None]:
        """Turn what transformers raises into an InputError, if there are controls that only transformers checks."""
        try:
            yield
        except InputError:
            raise
        except (ValueError, TypeError, LookupError, ArithmeticError) as error:
            if not self.unchecked:
                raise
            raise _refusal_of_transformers(error, self.unchecked) from error


def read_controls(given: Mapping[str, Any], model: TextVAEModel, tokenizers: TokenizerPair) -> Controls:
    """The controls with these names; None stands for one that is not given.

    Raises:
        InputError: for a name that `generate` does not know (the message suggests the nearest one), one that a verb
            cannot use, a value of the wrong type or out of its range, and values that contradict each other.
    """
    given = {name: value for name, value in given.items() if value is not None}
    given = _of_config(given.pop("generation_config", None)) | given
    for name in given:
        _check_name(name)
    vocab_size = model.config.decoder_config.vocab_size
    values = {name: _checked(name, value, vocab_size) for name, value in given.items()}
    functions = {name: values.pop(name) for name in _FUNCTIONS if name in values}
    draws = bool(functions or _in_force("do_sample", values, model))
    if strings := values.pop("stop_strings", None):
        own = _stopping_at(strings, tokenizers.decoder)
        functions["stopping_criteria"] = StoppingCriteriaList([own, *functions.get("stopping_criteria", [])])
    unchecked = [name for name in values if name not in _CHECKED]
    room = _room(model)
    if not values.keys() & {"max_new_tokens", "max_length"}:
        values["max_new_tokens"] = tokenizers.max_length if room is None else min(room, tokenizers.max_length)
    _check_lengths(values, room)
    _check_number_of_texts(values, model)
    try:
        config = GenerationConfig(**values)
    except (ValueError, TypeError, LookupError) as error:
        raise _refusal_of_transformers(error, unchecked or list(values)) from error
    return Controls(config, functions, draws, unchecked)


def candidates_in(given: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
    """The number of candidates for each z, and the controls that write so many: beams, or draws with `do_sample`.

    Raises:
        InputError: if it is below 1, or given together with `num_return_sequences`.
    """
    controls = dict(given)
    value = controls.pop("num_candidates", None)
    number = 1 if value is None else whole("num_candidates", value, COUNT)
    if number == 1:
        return number, controls
    if controls.get("num_return_sequences") not in (None, 1):
        raise InputError("num_candidates keeps one text of each z: leave it or num_return_sequences out.")
    if not controls.get("do_sample"):
        beams = controls.get("num_beams") or 1
        controls["num_beams"] = max(number, beams) if isinstance(beams, int) else beams
    return number, controls | {"num_return_sequences": number}


def with_beams(given: Mapping[str, Any], model: TextVAEModel) -> dict[str, Any]:
    """The controls with four beams, unless they, or the model's own `generation_config`, say how words are chosen."""
    own = vars(model.generation_config)
    is_said = any(given.get(name) is not None for name in (*_CHOOSING, *_CHOOSING_TOO))
    return dict(given) if is_said or any(own.get(name) for name in _CHOOSING) else {**given, "num_beams": BEAMS}


def _of_config(config: GenerationConfig | None) -> dict[str, Any]:
    """The controls in a `GenerationConfig`, without what it may hold beside them."""
    if config is None:
        return {}
    if not isinstance(config, GenerationConfig):
        raise InputError(f"generation_config is {shown(config)}, it must be a GenerationConfig of transformers.")
    values = {name: value for name, value in vars(config).items() if name not in _KEPT_BY_MODEL and name[0] != "_"}
    return {
        name: value
        for name, value in values.items()
        if value is not None and (name not in _REASONS or value is not False)
    }


def _check_name(name: str) -> None:
    if name in _REASONS:
        raise InputError(f"{name} is no control of a verb, as {_REASONS[name]}: leave it out.")
    known = [*_CHECKED, *(name for name in vars(GenerationConfig()) if name not in _REASONS and name[0] != "_")]
    if name not in known:
        known += _OF_VERBS
        raise InputError(f"There is no argument or decoding control {name!r}; did you mean {nearest(name, known)!r}?")


def _checked(name: str, value: Any, vocab_size: int) -> Any:
    if name in _WHOLE:
        return whole(name, value, _WHOLE[name])
    if name in _NUMBERS:
        return number(name, value, _NUMBERS[name])
    if name in _FLAGS:
        return flag(name, value)
    if name in _TOKENS:
        return _tokens(name, value, vocab_size)
    if name in _FUNCTIONS:
        return _functions(name, value)
    return _strings(value) if name == "stop_strings" else value


def _tokens(name: str, value: Any, vocab_size: int) -> int | list[int]:
    value = value.tolist() if isinstance(value, np.ndarray | Tensor) else value
    ids = Range(f"a token from 0 to {vocab_size - 1}", lambda token: 0 <= token < vocab_size)
    if not _is_list(value):
        one = whole(name, value, ids)
        return [one] if name.endswith("suppress_tokens") else one
    if len(value) == 0:
        raise InputError(f"{name} is empty: give tokens, or leave it out.")
    return [whole(name, token, ids) for token in value]


def _functions(name: str, value: Any) -> Any:
    several = name in _LISTS_OF_FUNCTIONS
    if not all(map(callable, value)) if several and _is_list(value) else several or not callable(value):
        raise InputError(f"{name} is {shown(value)}, it must be a {'list of functions' if several else 'function'}.")
    return value


def _strings(value: Any) -> list[str]:
    strings = [value] if isinstance(value, str) else value
    if not _is_list(strings) or not all(isinstance(one, str) and one for one in strings):
        raise InputError(f"stop_strings is {shown(value)}, it must be a string or a list of strings, none empty.")
    check_strings(strings)
    return list(strings)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _room(model: TextVAEModel) -> int | None:
    """The longest text in tokens that the decoder has positions for, or None if there is no limit."""
    positions = num_positions(model.decoder)
    return None if positions is None else positions - model.config.prefix_length


def _check_lengths(values: Mapping[str, Any], room: int | None) -> None:
    """Raises InputError for lengths that contradict each other, or are too large for the model."""
    if {"max_new_tokens", "max_length"} <= values.keys():
        raise InputError("Both max_new_tokens and max_length, which counts BOS, were given: leave one of them out.")
    longest = values.get("max_new_tokens", values.get("max_length", 1) - 1)
    shortest = max(values.get("min_new_tokens", 0), values.get("min_length", 0) - 1)
    if shortest > longest:
        raise InputError(f"A text of at least {shortest} tokens cannot have at most {longest}: raise max_new_tokens.")
    if room is not None and longest > room:
        raise InputError(f"The decoder has positions for {room} tokens, and not for {longest}: lower max_new_tokens.")


def _check_number_of_texts(values: Mapping[str, Any], model: TextVAEModel) -> None:
    """Raises InputError if more texts of a z are wanted than this way of decoding gives."""
    wanted, beams = (_in_force(name, values, model) or 1 for name in ("num_return_sequences", "num_beams"))
    if wanted > beams > 1:
        raise InputError(f"num_return_sequences is {wanted}, and num_beams {beams}: give as many beams, or more.")
    if wanted > beams and not _in_force("do_sample", values, model):
        raise InputError(
            f"num_return_sequences is {wanted}, and greedy decoding writes one text: add num_beams={wanted} or "
            "do_sample=True."
        )


def _in_force(name: str, values: Mapping[str, Any], model: TextVAEModel) -> Any:
    """A control, or what the model's own `generation_config` has for it."""
    return values.get(name, vars(model.generation_config).get(name))


def _refusal_of_transformers(error: Exception, names: Sequence[str]) -> InputError:
    reason = shorten(str(error), 200).rstrip(".")
    return InputError(f"transformers cannot use {', '.join(names)[:100]} ({reason}): correct what was given.")


def _refuse_overflow(rows: Sequence[int]) -> Callable[[Tensor, Tensor], Tensor]:
    """A logits processor that raises InputError if a z, by its index, gives no finite numbers for the first word."""

    def refuse(input_ids: Tensor, scores: Tensor) -> Tensor:
        if input_ids.shape[1] == 1 and not (finite := (scores < math.inf).all(-1)).all():
            row = rows[int(finite.int().argmin()) * len(rows) // len(scores)]
            raise InputError(f"The decoder computes no finite numbers from z {row}: give one nearer to 0.")
        return scores

    return refuse


def _stopping_at(strings: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> Callable[..., Tensor]:
    """A stopping criterion: a text ends with the token that completes one of the strings.

    That of transformers cannot read the vocabulary of a word tokenizer.
    """

    def stop(input_ids: Tensor, scores: Tensor, **_) -> Tensor:
        texts = tokenizer.batch_decode(input_ids, skip_special_tokens=True)
        return torch.tensor([any(one in text for one in strings) for text in texts], device=input_ids.device)

    return stop
