"""Speed, measured as ratios within one run: absolute times differ between machines, ratios hardly do.

Training: FLOPs of the model per second, as a share of this machine's matrix-multiply speed at the same dtype; the share
of the time for the collapse monitor; the share of padding; the peak memory; the shares of a step that its phases and
torch's operators take. Decoding: texts/s of TextVAEModel.generate, relative to its decoder alone.
"""

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from statistics import median
from typing import cast

import torch
from accelerate import Accelerator
from torch.profiler import profile, record_function
from torch.utils.flop_counter import FlopCounterMode

from textvae.data.labels import labels_in
from textvae.data.special_tokens import IGNORED
from textvae.data.tokenize import tokenize_corpus
from textvae.data.training_batches import NOT_FOR_THE_MODEL, LengthGroupedBatches
from textvae.evaluation.evaluate import PRECISIONS
from textvae.modeling.autoencoder import TextVAEModel
from textvae.training.batches import make_batches
from textvae.training.build_model import build_model, compile_parts
from textvae.training.build_tokenizers import make_tokenizers
from textvae.training.collapse import RECENT_BATCHES, CollapseMonitor
from textvae.training.config import TrainingConfig
from textvae.training.optimization import make_optimizer
from textvae.training.precision import choose_mixed_precision
from textvae.training.setup import read_corpus
from textvae.training.step import objective
from textvae.training.trainable import checkpoint_activations

ROUNDS, BATCHES, MOST_TEXTS = 5, 8, 50_000
DECODED_TEXTS, DECODED_TOKENS = 128, 16
PHASES = ("forward", "backward", "update")
SHOWN_OPERATORS = 8


def measure_speed(config: TrainingConfig) -> Iterator[str]:
    """Lines that say how fast this config trains and decodes here; at most 50,000 texts of its corpus are read.

    Raises:
        InputError: as `train`.
    """
    accelerator = Accelerator(mixed_precision=choose_mixed_precision(config))
    corpus = read_corpus(replace(config, streaming=False, max_train_samples=config.max_train_samples or MOST_TEXTS))
    tokenizers = make_tokenizers(config, corpus)
    model = build_model(config, tokenizers, labels_in(corpus["train"]))
    dataset = tokenize_corpus(corpus["train"], tokenizers, tokenizers.max_length, model.config.label_names)
    batches = make_batches(replace(config, streaming=False), dataset, tokenizers, model, accelerator)
    yield from measure_training(config, accelerator, model, cast(LengthGroupedBatches, batches))
    # Training wrapped `forward` in autocast; unwrap it, since the decoder alone has no autocast either.
    yield from measure_decoding(accelerator.unwrap_model(model, keep_fp32_wrapper=False))


def seconds(work: Callable[[], object], device: torch.device) -> float:
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def peak_memory(device: torch.device) -> int | None:
    """The most bytes that this process has held so far, on a GPU those of torch; None where nothing counts them."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    try:
        import resource  # only on Unix
    except ModuleNotFoundError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def matmul_flops_per_second(device: torch.device, dtype: torch.dtype) -> float:
    """The FLOPs per second of a large square matrix product on this device: the best of five."""
    size = 2048 if device.type == "cpu" else 8192
    matrix = torch.randn(size, size, device=device).to(dtype)
    return 2 * size**3 / min(seconds(lambda: matrix @ matrix, device) for _ in range(5))


def one_step(accelerator, wrapped, optimizer, batch: dict, config: TrainingConfig) -> None:
    """Run an optimizer step as in `train`, without its bookkeeping."""
    with record_function("forward"):
        loss = objective(config, wrapped(**batch), config.beta)
    with record_function("backward"):
        accelerator.backward(loss)
    with record_function("update"):
        accelerator.clip_grad_norm_(wrapped.parameters(), config.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()


def measure_training(
    config: TrainingConfig, accelerator: Accelerator, model: TextVAEModel, batches: LengthGroupedBatches
) -> Iterator[str]:
    if config.gradient_checkpointing:
        checkpoint_activations(model)
    if config.torch_compile:
        compile_parts(model)
    wrapped, optimizer = accelerator.prepare(model.train(), make_optimizer(config, model))
    device = accelerator.device
    sample = [dict(batches[index]) for index in range(BATCHES)]  # of the next epochs, if there are fewer
    for batch in sample:
        for name in NOT_FOR_THE_MODEL:
            batch.pop(name)
        batch.update({name: tensor.to(device) for name, tensor in batch.items()})
    tokens = sum(int((batch["labels"] != IGNORED).sum()) for batch in sample)
    with FlopCounterMode(display=False) as counter:
        for batch in sample:
            one_step(accelerator, wrapped, optimizer, batch, config)
    flops = counter.get_total_flops()
    dtype = PRECISIONS[accelerator.mixed_precision] or torch.float32
    shares, speeds = [], []
    for _ in range(ROUNDS):
        peak = matmul_flops_per_second(device, dtype)
        spent = seconds(lambda: [one_step(accelerator, wrapped, optimizer, b, config) for b in sample], device)
        shares.append(flops / spent / peak)
        speeds.append(tokens / spent)
    memory = peak_memory(device)
    where = profile_of(lambda: [one_step(accelerator, wrapped, optimizer, b, config) for b in sample])
    total, trained = (model.num_parameters(only_trainable=only) / 1e6 for only in (False, True))
    size = f"{total:.1f}M parameters, {trained:.2f}M of them trainable"
    yield f"decoder {model.decoder.config.model_type}, {size}, {device}, {torch.get_num_threads()} threads, {dtype}"
    yield f"training: {median(shares):.1%} of the matrix-multiply peak (rounds: {_listed(shares, '.1%')})"
    yield f"training: {median(speeds):,.0f} tokens/s, {flops / tokens / 1e6:.1f} MFLOPs per token"
    if config.monitor_steps:
        check = _check_seconds(config, accelerator, model, wrapped, sample[-1])
        share = check / (config.monitor_steps * tokens / BATCHES / median(speeds))
        yield f"collapse monitor: {share:.2%} of the training time, a check each {config.monitor_steps} steps"
    yield f"padding: {batches.padding_share():.1%} of positions"
    if memory is not None:
        yield f"peak memory: {memory / 2**20:,.0f} MiB"
    yield where


def profile_of(work: Callable[[], object]) -> str:
    """The shares of the host's time that the phases of these steps and their slowest operators take: two lines."""
    with profile() as profiler:
        work()
    events = profiler.key_averages()
    phases = {event.key: event.cpu_time_total for event in events if event.key in PHASES}
    operators = [event for event in events if event.key not in PHASES]
    operators.sort(key=lambda event: -event.self_cpu_time_total)
    total = sum(phases.values())
    lines = ["phases: " + ", ".join(f"{name} {phases[name] / total:.0%}" for name in PHASES)]
    shown = [f"{event.key} {event.self_cpu_time_total / total:.0%}" for event in operators[:SHOWN_OPERATORS]]
    return "\n".join([*lines, "operators: " + ", ".join(shown)])


def _check_seconds(config: TrainingConfig, accelerator: Accelerator, model, wrapped, batch: dict) -> float:
    """The seconds of one check of the collapse monitor, with as many recent batches as it keeps."""
    monitor = CollapseMonitor(accelerator, config, total_steps=10**6, steps_per_epoch=10**6)
    with torch.no_grad():
        output = wrapped(**batch)
    for _ in range(RECENT_BATCHES):
        monitor.add(output, batch.get("label_ids"))
    times = [seconds(lambda: monitor.check(model, batch, 1), accelerator.device) for _ in range(ROUNDS)]
    return median(times)


@torch.no_grad()
def measure_decoding(model: TextVAEModel) -> Iterator[str]:
    model.eval()
    latents = torch.randn(DECODED_TEXTS, model.config.latent_size, device=model.device)
    start = torch.full((DECODED_TEXTS, 1), cast(int, model.config.bos_token_id), device=model.device)
    length = {"min_new_tokens": DECODED_TOKENS, "max_new_tokens": DECODED_TOKENS}
    options = length | {"do_sample": False, "pad_token_id": model.config.pad_token_id}
    label_ids = torch.zeros_like(start[:, 0]) if model.config.label_names else None
    ours = partial(model.generate, latents, label_ids=label_ids, **options)
    theirs = partial(model.decoder.generate, start, **options)  # pyright: ignore[reportArgumentType]
    ours()
    theirs()
    pairs = [(seconds(ours, model.device), seconds(theirs, model.device)) for _ in range(ROUNDS)]
    ratios = [alone / with_latents for with_latents, alone in pairs]
    yield f"decoding: {DECODED_TEXTS / median([ours for ours, _ in pairs]):,.0f} texts/s of {DECODED_TOKENS} tokens"
    yield f"decoding: {median(ratios):.2f} × the decoder's own generate (rounds: {_listed(ratios, '.2f')})"


def _listed(values: list[float], form: str) -> str:
    return ", ".join(format(value, form) for value in values)
