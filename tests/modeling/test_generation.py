"""Writing from z: what is generated is what teacher forcing predicts, and every control of Hugging Face arrives.

Two decoders stand for all; that the cache, the beams and the batch change nothing is in `test_families.py` for each.
"""

import pytest
import torch
from transformers import GenerationConfig

from textvae import InputError
from textvae.modeling.compat import CACHE_NAME

BOS, EOS, PAD = 2, 3, 0
DECODERS = ["gru", "llama"]
OTHERS = [pytest.param(name, marks=pytest.mark.families) for name in ("gru2", "gpt2", "qwen2")]
INJECTIONS = {
    "embedding": {"latent_injection": "embedding"},
    "prefix1": {"latent_injection": "prefix", "latent_tokens": 1},
    "prefix3": {"latent_injection": "prefix", "latent_tokens": 3},
    "both2": {"latent_injection": ["embedding", "prefix"], "latent_tokens": 2},
    "output": {"latent_injection": "output"},
    "all2": {"latent_injection": ["prefix", "embedding", "output"], "latent_tokens": 2},
}
both_decoders = pytest.mark.parametrize("decoder", DECODERS)
every_decoder = pytest.mark.parametrize("decoder", DECODERS + OTHERS)
every_injection = pytest.mark.parametrize("injection", INJECTIONS)


@pytest.fixture(scope="module")
def models(make_model):
    """(decoder, injection) → a lively model: untied, so that it does not repeat its input, with large weights."""
    made = {}

    def model(decoder, injection="both2"):
        if (decoder, injection) not in made:
            changes = {"tie_word_embeddings": False, "initializer_range": 0.5}
            made[decoder, injection] = make_model(
                "bert", decoder, decoder_changes=changes, initializer_range=0.5, **INJECTIONS[injection]
            )
        return made[decoder, injection]

    return model


@pytest.fixture
def latents():
    return torch.randn(4, 5, generator=torch.Generator().manual_seed(11))


def greedy(model, latents, length=8, **controls):
    """`length` new tokens, none of them EOS or padding."""
    controls = {"max_new_tokens": length, "do_sample": False, "suppress_tokens": [PAD, EOS], **controls}
    return model.generate(latents, **controls)


@both_decoders
@every_injection
def test_cached_generation_equals_teacher_forcing(models, latents, decoder, injection):
    model = models(decoder, injection)
    output = greedy(model, latents, output_logits=True, return_dict_in_generate=True)
    assert output.sequences.shape == (4, 9) and (output.sequences[:, 0] == BOS).all()
    with torch.no_grad():
        forced = model.decode(latents, output.sequences[:, :-1])
    torch.testing.assert_close(torch.stack(output.logits, 1), forced, rtol=1e-4, atol=1e-4)
    forced[..., [PAD, EOS]] = -torch.inf
    assert torch.equal(forced.argmax(-1), output.sequences[:, 1:])
    assert len({tuple(row) for row in output.sequences.tolist()}) > 1  # z speaks


@both_decoders
@pytest.mark.parametrize("name", ["cache", "past_key_values"])
def test_a_cache_is_taken_by_its_name_of_any_transformers(models, latents, decoder, name):
    model, ids, cache, found = models(decoder), torch.tensor([[BOS, 9, 5, 17]]).expand(4, -1), None, []
    with torch.no_grad():
        for part in ids.split([1, 2, 1], dim=1):
            output = model(decoder_input_ids=part, latents=latents, use_cache=True, **{name: cache})
            cache = getattr(output, CACHE_NAME)
            found.append(output.logits)
        forced = model.decode(latents, ids)[:, [0, 2, 3]]
    torch.testing.assert_close(torch.cat(found, 1), forced, rtol=1e-4, atol=1e-4)


@both_decoders
@every_injection
def test_the_cache_and_the_batch_change_nothing(models, latents, decoder, injection):
    model = models(decoder, injection)
    together = greedy(model, latents)
    assert torch.equal(greedy(model, latents, use_cache=False), together)
    for row in range(4):
        assert torch.equal(greedy(model, latents[[row]]), together[[row]])


@both_decoders
@every_injection
def test_beams_with_the_cache_equal_beams_without(models, latents, decoder, injection):
    """The cache follows the beams that survive."""
    model, controls = models(decoder, injection), {"max_new_tokens": 7, "num_beams": 4, "num_return_sequences": 3}
    cached = model.generate(latents, output_scores=True, return_dict_in_generate=True, **controls)
    plain = model.generate(latents, use_cache=False, output_scores=True, return_dict_in_generate=True, **controls)
    assert cached.sequences.shape[0] == 12
    assert torch.equal(cached.sequences, plain.sequences)
    torch.testing.assert_close(cached.sequences_scores, plain.sequences_scores, rtol=1e-4, atol=1e-4)
    alone = model.generate(latents[[2]], **controls)
    assert torch.equal(alone, cached.sequences[6:9, : alone.shape[1]])


@every_decoder
def test_beams_find_what_is_at_least_as_likely_as_greedy(models, latents, decoder):
    model = models(decoder)

    def nll(ids):
        return model.reconstruction(latents, ids[:, 1:])

    with torch.no_grad():
        best = greedy(model, latents, num_beams=16)
        assert (nll(best) <= nll(greedy(model, latents)) + 1e-4).all()
        assert not torch.equal(best, greedy(model, latents))


@every_decoder
def test_generation_stops_at_eos_and_pads_behind_it(models, latents, decoder):
    model = models(decoder)
    free = greedy(model, latents, length=10)
    eos = int(free[0, 4])  # what row 0 writes fourth ends a text from now on
    stops = [row.index(eos) if eos in row else None for row in free[:, 1:].tolist()]
    written = greedy(model, latents, length=10, eos_token_id=eos)
    for row, stop in enumerate(stops):
        length = written.shape[1] if stop is None else stop + 2
        assert torch.equal(written[row, :length], free[row, :length])
        assert (written[row, length:] == PAD).all()
    alone = greedy(model, latents[:1], length=10, eos_token_id=eos)
    assert alone.shape[1] == stops[0] + 2  # no step is taken after the last text has ended


@every_decoder
def test_the_configs_eos_ends_a_text(make_model, latents, decoder):
    """Not the decoder's own, which for GPT-2 is 50256."""
    model = make_model("bert", decoder, decoder_changes={"eos_token_id": 9, "bos_token_id": 8})
    with torch.no_grad():
        for name, parameter in model.decoder.named_parameters():
            parameter.zero_() if "norm" not in name and "ln" not in name else None
    free = model.generate(latents, max_new_tokens=5, do_sample=False)
    assert free.shape == (4, 6)  # every logit is equal: token 0 for ever
    assert model.generation_config.eos_token_id == EOS and model.generation_config.bos_token_id == BOS
    with torch.no_grad():
        written = model.generate(latents, max_new_tokens=5, do_sample=False, sequence_bias={(EOS,): 10.0})
    assert written.tolist() == [[BOS, EOS]] * 4


@every_decoder
def test_lengths_are_kept(models, latents, decoder):
    model = models(decoder)
    first = int(greedy(model, latents, length=1)[0, 1])
    assert greedy(model, latents[:1], length=9, eos_token_id=first).shape == (1, 2)
    longer = greedy(model, latents[:1], length=9, min_new_tokens=4, eos_token_id=first)
    assert longer.shape[1] >= 6 and first not in longer[0, 1:5].tolist()
    assert model.generate(latents, max_length=6, min_length=6, do_sample=False).shape == (4, 6)
    config = GenerationConfig(max_new_tokens=3, min_new_tokens=3, pad_token_id=PAD, eos_token_id=EOS)
    assert model.generate(latents, generation_config=config).shape == (4, 4)


@every_decoder
def test_several_texts_for_each_z_stand_together(models, latents, decoder):
    model = models(decoder)
    expected = greedy(model, latents)
    found = greedy(model, latents, do_sample=True, top_k=1, num_return_sequences=3)
    assert torch.equal(found, expected.repeat_interleave(3, 0))


@every_decoder
def test_sampling_follows_the_seed(models, latents, decoder):
    model, written = models(decoder), []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        written.append(greedy(model, latents, do_sample=True, temperature=3.0, num_return_sequences=2))
    assert torch.equal(written[0], written[1]) and not torch.equal(written[0], written[2])
    assert not torch.equal(written[0][0::2], written[0][1::2])
    cold = greedy(model, latents, do_sample=True, temperature=1e-4)
    assert torch.equal(cold, greedy(model, latents))


@every_decoder
def test_sampling_draws_from_the_predicted_distribution(models, latents, decoder):
    model = models(decoder)
    with torch.no_grad():
        expected = model.decode(latents[:1], torch.tensor([[BOS]]))[0, 0].softmax(-1)
    torch.manual_seed(0)
    drawn = model.generate(
        latents[:1], max_new_tokens=1, do_sample=True, num_return_sequences=4000, top_k=0, top_p=1.0, temperature=1.0
    )
    share = torch.bincount(drawn[:, 1], minlength=37) / 4000
    assert ((share - expected).abs() < 5 * (expected * (1 - expected) / 4000).sqrt() + 1e-3).all()


@every_decoder
def test_repetition_penalty_is_applied_to_what_was_written(models, latents, decoder):
    model, penalty = models(decoder), 3.0
    ids = torch.full((4, 1), BOS)
    for _ in range(10):
        with torch.no_grad():
            logits = model.decode(latents, ids)[:, -1]
        seen = logits.gather(1, ids)
        logits.scatter_(1, ids, torch.where(seen < 0, seen * penalty, seen / penalty))  # Keskar et al. 2019
        logits[:, [PAD, EOS]] = -torch.inf
        ids = torch.cat([ids, logits.argmax(-1, keepdim=True)], 1)
    assert torch.equal(greedy(model, latents, length=10, repetition_penalty=penalty), ids)
    assert not torch.equal(greedy(model, latents, length=10), ids)


@both_decoders
@every_injection
def test_a_text_goes_on_from_how_it_is_said_to_begin(models, latents, decoder, injection):
    model = models(decoder, injection)
    whole = greedy(model, latents)
    assert torch.equal(greedy(model, latents, length=4, decoder_input_ids=whole[:, :5]), whole)


@pytest.mark.parametrize("shape", [(4, 6), (5,), (2, 2, 5)])
def test_latents_of_another_shape_are_refused(models, shape):
    with pytest.raises(InputError, match=r"latents must be \(texts, 5\)"):
        models("gru").generate(torch.zeros(shape))
