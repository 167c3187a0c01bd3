"""Every supported family, tiny and random, opened by `from_encoder_decoder`: it reads, writes, learns and is saved.

By default one family per mechanism runs, and the others with the marker `families`: `pytest -m families`.
"""

import pytest
import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from torch.distributions import Normal, kl_divergence
from torch.nn.functional import cross_entropy
from transformers import AutoConfig, AutoModelForCausalLM

from textvae import TextVAEConfig, TextVAEModel
from textvae.data.special_tokens import IGNORED
from textvae.modeling.autoencoder import shift_right
from textvae.modeling.compat import CACHE_NAME
from textvae.modeling.families import DECODERS, ENCODERS, encoder_class
from textvae.modeling.load import load_model

BOS, EOS, PAD = 2, 3, 0
LENGTHS = [9, 4, 6]  # B 3, S 9, Z 5
INJECTIONS = {
    "embedding": {"latent_injection": "embedding"},
    "prefix2": {"latent_injection": "prefix", "latent_tokens": 2},
    "both2": {"latent_injection": ["embedding", "prefix"], "latent_tokens": 2},
    "output": {"latent_injection": "output"},
    "all2": {"latent_injection": ["embedding", "prefix", "output"], "latent_tokens": 2},
}
# Settings that a family leaves neutral are set, windows are shorter than the texts, and no two widths are equal.
ENCODER = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 40}
T5 = {"d_model": 24, "d_kv": 10, "num_layers": 2, "num_heads": 2, "d_ff": 40}
DECODER = {
    **{"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1},
    **{"intermediate_size": 28, "max_position_embeddings": 64, "initializer_range": 0.3},
}
GPT = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64, "initializer_range": 0.3}
DEBERTA = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "type_vocab_size": 0}
SIZES = {
    "albert": {**ENCODER, "embedding_size": 14},
    "deberta": {**ENCODER, **DEBERTA},
    "deberta-v2": {**ENCODER, **DEBERTA, "position_buckets": 8, "share_att_key": True},
    "distilbert": {"dim": 24, "n_layers": 2, "n_heads": 2, "hidden_dim": 40},
    "electra": {**ENCODER, "embedding_size": 14},
    "modernbert": {**ENCODER, "cls_token_id": 2, "sep_token_id": 3, "local_attention": 4},
    **dict.fromkeys(("t5", "mt5", "umt5"), T5),
    "bloom": {"hidden_size": 16, "n_layer": 2, "n_head": 2, "initializer_range": 0.3},
    "cohere": {**DECODER, "logit_scale": 0.3},
    "cohere2": {**DECODER, "logit_scale": 0.3, "sliding_window": 4},
    "exaone4": {**DECODER, "sliding_window": 4},
    "falcon": {key: DECODER[key] for key in DECODER if not key.startswith(("num_key", "inter"))},
    "gemma": {**DECODER, "head_dim": 10},
    "gemma2": {
        **{**DECODER, "head_dim": 10, "sliding_window": 4, "query_pre_attn_scalar": 8},
        **{"final_logit_softcapping": 2.0, "attn_logit_softcapping": 3.0},
    },
    "gemma3_text": {
        **{**DECODER, "head_dim": 10, "sliding_window": 4, "final_logit_softcapping": 2.0},
        "layer_types": ["sliding_attention", "full_attention"],
    },
    "glm": {**DECODER, "head_dim": 8},
    "glm4": {**DECODER, "head_dim": 8},
    "gpt2": GPT,
    "gpt_bigcode": GPT,
    "gpt_neo": {
        **{"hidden_size": 16, "num_layers": 2, "num_heads": 2, "intermediate_size": 28, "initializer_range": 0.3},
        **{"attention_types": [[["global", "local"], 1]], "window_size": 4, "max_position_embeddings": 64},
    },
    "gptj": {**GPT, "rotary_dim": 4},
    "granite": {**DECODER, "logits_scaling": 4.0, "embedding_multiplier": 3.0, "residual_multiplier": 0.5},
    "gru": {"embedding_size": 14, "hidden_size": 18, "initializer_range": 0.3},
    "helium": {**DECODER, "head_dim": 8},
    "mistral": {**DECODER, "sliding_window": 4},
    "mpt": {"d_model": 16, "n_heads": 2, "n_layers": 2, "expansion_ratio": 2, "initializer_range": 0.3},
    "olmo3": {**DECODER, "sliding_window": 4},
    "opt": {
        **{"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "ffn_dim": 28, "init_std": 0.3},
        **{"word_embed_proj_dim": 12, "do_layer_norm_before": False, "max_position_embeddings": 64},
    },
    "phi": {**DECODER, "num_key_value_heads": 2, "partial_rotary_factor": 0.5},
    "qwen3": {**DECODER, "head_dim": 10},
    "smollm3": {**DECODER, "no_rope_layer_interval": 2},
    "starcoder2": {**DECODER, "sliding_window": 4},
    "xglm": {"d_model": 16, "num_layers": 2, "attention_heads": 2, "ffn_dim": 28, "init_std": 0.3},
}
# Other members of these families, each as it is found among published models.
VARIANTS = {
    "falcon-rw": {"model_type": "falcon", **SIZES["falcon"], "alibi": True, "multi_query": False},
    "falcon-40b": {"model_type": "falcon", **SIZES["falcon"], "new_decoder_architecture": True, "num_kv_heads": 1},
    "gru2": {"model_type": "gru", **SIZES["gru"], "num_hidden_layers": 2},
    "llama-tied": {"model_type": "llama", **DECODER, "tie_word_embeddings": True},
    "t5-gated": {"model_type": "t5", **T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
    "embeddinggemma": {"model_type": "gemma3_text", **SIZES["gemma3_text"], "use_bidirectional_attention": True},
}
# Mechanisms: recurrence, learned positions, rotary positions, ALiBi, sliding windows, soft caps, scaled logits, and
# embeddings that are projected; among the encoders relative positions, shared layers, and those of T5.
DEFAULT_DECODERS = {"gru", "gpt2", "llama", "bloom", "mistral", "gemma2", "cohere", "opt"}
DEFAULT_ENCODERS = {"bert", "roberta", "t5", "deberta-v2", "modernbert", "albert"}
ALL_ENCODERS = [*ENCODERS, *DECODERS, "t5-gated", "embeddinggemma"]
ALL_DECODERS = [*DECODERS, "falcon-rw", "falcon-40b", "gru2", "llama-tied"]


def case(is_default, *values):
    return pytest.param(*values, marks=() if is_default else pytest.mark.families)


every_decoder = pytest.mark.parametrize("decoder", [case(name in DEFAULT_DECODERS, name) for name in ALL_DECODERS])
every_decoder_and_injection = pytest.mark.parametrize(
    ("decoder", "injection"),
    [case(name in DEFAULT_DECODERS, name, injection) for name in ALL_DECODERS for injection in INJECTIONS],
)
every_part = pytest.mark.parametrize(
    ("encoder", "decoder"),
    [case(name in DEFAULT_ENCODERS, name, "gru") for name in ALL_ENCODERS]
    + [case(name in DEFAULT_DECODERS, "gru", name) for name in ALL_DECODERS],
)


def tiny(name: str):
    """The config of a family or variant, without dropout."""
    sizes = VARIANTS.get(name) or {"model_type": name, **SIZES.get(name, DECODER if name in DECODERS else ENCODER)}
    special = {"pad_token_id": PAD, "bos_token_id": BOS, "eos_token_id": EOS}
    try:
        values = AutoConfig.for_model(vocab_size=37, **special, **sizes).to_dict()
    except StrictDataclassError:
        if not transformers.__version__.startswith("5.4."):
            raise
        pytest.skip(f"this version of transformers refuses the defaults of {name}")  # with a later huggingface_hub
    dropout = {key: 0.0 for key, value in values.items() if "drop" in key and isinstance(value, float)}
    return AutoConfig.for_model(**values | dropout)


@pytest.fixture(scope="module")
def saved(tmp_path_factory, shaken):
    """(side, name) → where a tiny shaken part is saved, and its weights."""
    made = {}

    def save(side, name):
        if (side, name) not in made:
            torch.manual_seed(0)
            config, path = tiny(name), tmp_path_factory.mktemp(name)
            auto_class = AutoModelForCausalLM if side == "decoder" else encoder_class(config)
            part = shaken(auto_class.from_config(config))
            part.save_pretrained(path)
            made[side, name] = str(path), part.state_dict()
        return made[side, name]

    return save


@pytest.fixture(scope="module")
def models(saved, shaken):
    """(encoder, decoder) → the two joined under all injections, with a lively bottleneck and a bag-of-words head."""
    made = {}

    def model(encoder, decoder):
        if (encoder, decoder) not in made:
            torch.manual_seed(1)
            paths = saved("encoder", encoder)[0], saved("decoder", decoder)[0]
            pooling = "last" if encoder in DECODERS else "mean"
            config = {"latent_size": 5, "initializer_range": 0.5, "pooling": pooling, "bag_of_words": True}
            made[encoder, decoder] = TextVAEModel.from_encoder_decoder(*paths, **config, **INJECTIONS["all2"])
            shaken(made[encoder, decoder].posterior.to_logvar)
        return made[encoder, decoder]

    return model


@pytest.fixture(scope="module")
def writers(models):
    """(decoder, injection) → a model that writes: the same decoder, told of z in this way."""

    def model(decoder, injection):
        whole = models("gru", decoder)
        torch.manual_seed(1)
        config = TextVAEConfig(**whole.config.to_dict() | INJECTIONS[injection])
        return TextVAEModel(config, whole.encoder, whole.decoder).eval()

    return model


@pytest.fixture
def latents():
    return torch.randn(3, 5, generator=torch.Generator().manual_seed(11))


def terms(model, batch, noise):
    """Every number of each text, (B, 2 + 3 Z), the reconstruction first."""
    with torch.no_grad():
        output = model(**batch, noise=noise)
    per_text = output.reconstruction[:, None], output.bag_of_words[:, None]
    return torch.cat([*per_text, output.mean, output.logvar, output.kl], dim=1)


def labels_of(batch):
    return batch["input_ids"].masked_fill(batch["attention_mask"] == 0, IGNORED)


def random_ids(rows, width):
    return torch.randint(4, 37, (rows, width), generator=torch.Generator().manual_seed(0))


def decoded_by_hand(model, latents, ids):
    """The decoder's own logits (B, T, V), with z in two soft tokens, all embeddings and all states of the softmax."""
    z, head = model.injection, model.decoder.get_output_embeddings()
    prefix = torch.stack(z.to_prefix(latents).chunk(2, dim=1), dim=1)
    embeds = torch.cat([prefix, model.decoder.get_input_embeddings()(ids)], dim=1) + z.to_embedding(latents)[:, None]
    hook = head.register_forward_pre_hook(lambda _, inputs: (inputs[0] + z.to_output(latents)[:, None],))
    logits = model.decoder(inputs_embeds=embeds).logits[:, 2:]
    hook.remove()
    return logits


@every_part
def test_its_weights_are_the_saved_ones(models, saved, encoder, decoder):
    model = models(encoder, decoder)
    for side, name, part in (("encoder", encoder, model.encoder), ("decoder", decoder, model.decoder)):
        weights = saved(side, name)[1]
        assert weights.keys() - part.state_dict().keys() <= {key for key in weights if key.startswith("pooler.")}
        assert all(torch.equal(value, weights[key]) for key, value in part.state_dict().items())
    assert not any("pooler" in name for name in model.state_dict())
    assert (model.config.pad_token_id, model.config.bos_token_id, model.config.eos_token_id) == (PAD, BOS, EOS)


@every_part
def test_padding_and_the_batch_change_nothing(models, make_texts, latents, encoder, decoder):
    model, batch, wide = models(encoder, decoder), make_texts(LENGTHS), make_texts(LENGTHS, width=14)
    padding = wide["attention_mask"] == 0
    wide["input_ids"][:, :9] = batch["input_ids"]
    expected = terms(model, batch, latents)
    torch.testing.assert_close(terms(model, wide, latents), expected, rtol=1e-4, atol=1e-4)
    wide["input_ids"][padding] = random_ids(1, int(padding.sum()))[0]
    torch.testing.assert_close(terms(model, wide, latents), expected, rtol=1e-4, atol=1e-4)
    for row, length in enumerate(LENGTHS):
        alone = {name: tensor[row : row + 1, :length] for name, tensor in batch.items()}
        torch.testing.assert_close(terms(model, alone, latents[[row]]), expected[[row]], rtol=1e-4, atol=1e-4)


@every_part
def test_every_weight_learns(models, make_texts, latents, encoder, decoder):
    model = models(encoder, decoder).train()
    output = model(**make_texts(LENGTHS), noise=latents)
    (output.loss + output.bag_of_words.sum()).backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    model.zero_grad()
    model.eval()
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients.values())
    assert all(gradient.any() for gradient in gradients.values() if gradient.dim() > 1)
    torch.testing.assert_close(output.reconstruction, terms(model, make_texts(LENGTHS), latents)[:, 0])


@every_part
def test_saved_and_opened_it_is_the_same(models, make_texts, latents, tmp_path, encoder, decoder):
    model, batch = models(encoder, decoder), make_texts(LENGTHS)
    expected = terms(model, batch, latents)
    for directory in (tmp_path / "once", tmp_path / "twice"):
        model.save_pretrained(directory)
        files = {path.name for path in directory.iterdir()}
        assert files == {"config.json", "generation_config.json", "model.safetensors"}
        opened = load_model(str(directory), torch.float32)
        assert not opened.training and opened.state_dict().keys() == model.state_dict().keys()
        assert torch.equal(terms(opened, batch, latents), expected)
        model = opened


@every_decoder
def test_its_likelihood_is_that_of_its_own_logits_with_z_where_it_is_said_to_be(models, make_texts, latents, decoder):
    """Also where the logits are scaled or bounded behind the softmax's weights."""
    model, batch = models("gru", decoder), make_texts(LENGTHS)
    labels = labels_of(batch)
    inputs = shift_right(labels, BOS, PAD)
    with torch.no_grad():
        logits = decoded_by_hand(model, latents, inputs)
        decoded, found = model.decode(latents, inputs), model.reconstruction(latents, labels)
    torch.testing.assert_close(decoded, logits, rtol=1e-4, atol=1e-4)
    expected = cross_entropy(logits.transpose(1, 2), labels, reduction="none").sum(1)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(model.reconstruction(latents, labels), expected, rtol=1e-4, atol=1e-4)


@every_decoder
def test_its_loss_is_the_negative_elbo_of_the_labels_and_inputs_that_it_is_given(models, make_texts, latents, decoder):
    model, source, target = models("gru", decoder), make_texts(LENGTHS), make_texts([5, 7, 2], seed=1)
    labels = labels_of(target)
    inputs = shift_right(labels, BOS, PAD)
    inputs[:, 1::2] = 1  # as word dropout makes them
    with torch.no_grad():
        output = model(**source, labels=labels, decoder_input_ids=inputs, noise=latents)
        plain, posterior = model(**source, noise=latents), model.encode(**source)
        given = model(**target, decoder_input_ids=inputs, latents=output.latents)
        logits = model.decode(output.latents, inputs)
        words = model.to_bag_of_words(output.latents).log_softmax(-1)
    expected = cross_entropy(logits.transpose(1, 2), labels, reduction="none").sum(1)
    torch.testing.assert_close(output.reconstruction, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(given.reconstruction, expected, rtol=1e-4, atol=1e-4)
    assert not torch.isclose(expected, plain.reconstruction).any()
    of_text = (words.gather(1, target["input_ids"]) * target["attention_mask"]).sum(1)
    torch.testing.assert_close(output.bag_of_words, -of_text, rtol=1e-4, atol=1e-4)
    assert torch.equal(output.mean, plain.mean) and torch.equal(given.latents, output.latents)
    torch.testing.assert_close(posterior.loc, output.mean)
    torch.testing.assert_close(posterior.scale, torch.exp(output.logvar / 2))
    torch.testing.assert_close(output.latents, posterior.loc + posterior.scale * latents)
    torch.testing.assert_close(output.kl, kl_divergence(posterior, Normal(0.0, 1.0)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(output.loss, (output.reconstruction + output.kl.sum(-1)).mean())


@every_decoder
def test_decoding_is_causal_and_reads_its_input(models, latents, decoder):
    model, ids = models("gru", decoder), random_ids(3, 7)
    changed = ids.clone()
    changed[:, 4] = 4 + (ids[:, 4] - 3) % 33  # another ordinary token
    with torch.no_grad():
        before, after = model.decode(latents, ids), model.decode(latents, changed)
    torch.testing.assert_close(after[:, :4], before[:, :4], rtol=1e-5, atol=1e-5)
    assert ((after[:, 4:] - before[:, 4:]).abs().amax(-1) > 1e-4).all()


@every_decoder
def test_every_position_and_every_dimension_of_z_matters(models, latents, decoder):
    model, latents = models("gru", decoder), latents.requires_grad_()
    logits = model.decode(latents, random_ids(3, 7))
    directions = torch.randn(7, 37, generator=torch.Generator().manual_seed(7))
    for position in range(7):
        along = (logits[:, position] * directions[position]).sum()
        (gradient,) = torch.autograd.grad(along, latents, retain_graph=True)
        assert (gradient.abs() > 1e-5).all()


@every_decoder
def test_under_bf16_autocast_terms_stay_fp32_and_close(models, make_texts, latents, decoder):
    model, batch = models("gru", decoder), make_texts(LENGTHS)
    expected = terms(model, batch, latents)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = terms(model, batch, latents)
    with torch.autocast("cpu", dtype=torch.bfloat16):  # its own: torch 2.8 keeps what it cast without gradients
        output = model(**batch, noise=latents)
    (output.loss + output.bag_of_words.sum()).backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    model.zero_grad()
    assert found.dtype == output.reconstruction.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0.1, atol=0.1)
    torch.testing.assert_close(output.reconstruction, found[:, 0], rtol=0.01, atol=0.01)
    assert all(gradient.isfinite().all() for gradient in gradients)


@every_decoder
@pytest.mark.parametrize("name", ["cache", "past_key_values"])
def test_steps_with_its_cache_equal_one_pass(models, latents, decoder, name):
    model, ids, cache, found = models("gru", decoder), random_ids(3, 7), None, []
    with torch.no_grad():
        for part in ids.split([1, 3, 2, 1], dim=1):
            output = model(decoder_input_ids=part, latents=latents, use_cache=True, **{name: cache})
            cache = getattr(output, CACHE_NAME)
            found.append(output.logits)
        forced = model.decode(latents, ids)[:, [0, 3, 5, 6]]
    torch.testing.assert_close(torch.cat(found, 1), forced, rtol=1e-4, atol=1e-3)


@every_decoder_and_injection
def test_cached_generation_equals_teacher_forcing(writers, latents, decoder, injection):
    model, controls = writers(decoder, injection), {"max_new_tokens": 6, "suppress_tokens": [PAD, EOS]}
    output = model.generate(latents, do_sample=False, output_logits=True, return_dict_in_generate=True, **controls)
    assert output.sequences.shape == (3, 7) and (output.sequences[:, 0] == BOS).all()
    with torch.no_grad():
        forced = model.decode(latents, output.sequences[:, :-1])
    torch.testing.assert_close(torch.stack(output.logits, 1), forced, rtol=1e-4, atol=1e-3)
    forced[..., [PAD, EOS]] = -torch.inf
    chosen = forced.gather(-1, output.sequences[:, 1:, None]).squeeze(-1)
    torch.testing.assert_close(chosen, forced.amax(-1), rtol=1e-4, atol=1e-3)
    alone = model.generate(latents[[1]], do_sample=False, use_cache=False, **controls)
    assert torch.equal(alone, output.sequences[[1]])
    continued = {**controls, "max_new_tokens": 2, "decoder_input_ids": output.sequences[:, :5]}
    assert torch.equal(model.generate(latents, do_sample=False, **continued), output.sequences)


@every_decoder_and_injection
def test_beams_are_scored_by_teacher_forcing(writers, latents, decoder, injection):
    """The cache follows the beams: what they sum up is the likelihood of what they return, as without a cache."""
    model = writers(decoder, injection)
    controls = {"max_new_tokens": 5, "num_beams": 3, "num_return_sequences": 2, "length_penalty": 0.0}
    controls |= {"min_new_tokens": 5, "do_sample": False, "output_scores": True, "return_dict_in_generate": True}
    output = model.generate(latents, **controls)
    labels = output.sequences[:, 1:]
    with torch.no_grad():
        logits = model.decode(latents.repeat_interleave(2, 0), output.sequences[:, :-1])
    # `min_new_tokens` takes EOS away after the softmax, so its share stays in what is summed up
    expected = logits.log_softmax(-1).gather(-1, labels[..., None]).sum((1, 2))
    torch.testing.assert_close(output.sequences_scores, expected, rtol=1e-4, atol=1e-3)
    plain, alone = model.generate(latents, use_cache=False, **controls), model.generate(latents[[2]], **controls)
    torch.testing.assert_close(plain.sequences_scores, expected, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(alone.sequences_scores, expected[4:], rtol=1e-4, atol=1e-3)
