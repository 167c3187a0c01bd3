"""The model: what padding, batching, chunking and saving must not change, and what its numbers must be.

Two decoders stand for all, a recurrent one and a transformer; what holds for every family is in `test_families.py`.
"""

from contextlib import contextmanager

import pytest
import torch
from torch.distributions import Normal, kl_divergence
from torch.nn.functional import log_softmax
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForTextEncoding

from textvae import InputError, TextVAEConfig, TextVAEModel
from textvae.data.special_tokens import IGNORED
from textvae.modeling import cross_entropy
from textvae.modeling.autoencoder import shift_right
from textvae.modeling.posterior import Pooling, QueryPooling
from textvae.training.trainable import checkpoint_activations

BOS, EOS, PAD = 2, 3, 0
LENGTHS = [9, 4, 6]  # B 3, S 9, Z 5
DECODERS = ["gru", "llama"]
POOLINGS = ["mean", "cls", "last", "max", "attention"]
INJECTIONS = {
    "embedding": {"latent_injection": "embedding"},
    "prefix1": {"latent_injection": "prefix", "latent_tokens": 1},
    "prefix3": {"latent_injection": ["prefix"], "latent_tokens": 3},
    "both2": {"latent_injection": ["embedding", "prefix"], "latent_tokens": 2},
    "output": {"latent_injection": "output"},
    "all2": {"latent_injection": ["prefix", "embedding", "output"], "latent_tokens": 2},
}
COMBINATIONS = (
    [("bert", decoder, "mean", injection) for decoder in DECODERS for injection in INJECTIONS]
    + [("bert", "gru", pooling, "embedding") for pooling in (*POOLINGS[1:], "queries")]
    + [("bert", "gpt2", "queries", "prefix3")]
    + [("t5", "llama", "attention", "both2"), ("modernbert", "gpt2", "max", "prefix3")]
)
every_combination = pytest.mark.parametrize(("encoder", "decoder", "pooling", "injection"), COMBINATIONS)
every_decoder_and_injection = pytest.mark.parametrize(
    ("decoder", "injection"), [(decoder, injection) for decoder in DECODERS for injection in INJECTIONS]
)


@pytest.fixture
def build(make_model):
    def build(encoder="bert", decoder="gru", pooling="mean", injection="embedding", **changes):
        queries = {"pooling_queries": 5} if pooling == "queries" else {}
        return make_model(encoder, decoder, pooling=pooling, **queries, **INJECTIONS[injection], **changes)

    return build


def standard_normal(*shape, seed=7):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def terms(model, batch, noise):
    """Every per-text number of a pass, by name."""
    with torch.no_grad():
        output = model(**batch, noise=noise)
    return {name: output[name] for name in ("reconstruction", "kl", "latents", "mean", "logvar")}


def assert_same(found, expected, **tolerance):
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, msg=lambda m, name=name: f"{name}: {m}", **tolerance)


def assert_padding_changes_nothing(model, make_texts):
    noise = standard_normal(3, model.config.latent_size)
    narrow, wide = make_texts(LENGTHS), make_texts(LENGTHS, width=14)
    wide["input_ids"][:, :9] = narrow["input_ids"]
    littered = {name: tensor.clone() for name, tensor in wide.items()}
    padding = wide["attention_mask"] == 0
    littered["input_ids"][padding] = torch.randint(4, 37, (int(padding.sum()),))
    expected = terms(model, narrow, noise)
    assert_same(terms(model, wide, noise), expected, rtol=1e-4, atol=1e-5)
    assert_same(terms(model, littered, noise), expected, rtol=1e-4, atol=1e-5)


@every_combination
def test_padding_changes_nothing(build, make_texts, encoder, decoder, pooling, injection):
    assert_padding_changes_nothing(build(encoder, decoder, pooling, injection), make_texts)


@every_combination
def test_each_text_alone_equals_its_row_in_a_batch(build, make_texts, encoder, decoder, pooling, injection):
    model, batch, noise = build(encoder, decoder, pooling, injection), make_texts(LENGTHS), standard_normal(3, 5)
    together = terms(model, batch, noise)
    assert together["reconstruction"].shape == (3,) and together["kl"].shape == (3, 5)
    for row, length in enumerate(LENGTHS):
        alone = terms(model, {name: tensor[row : row + 1, :length] for name, tensor in batch.items()}, noise[[row]])
        assert_same(alone, {name: value[[row]] for name, value in together.items()}, rtol=1e-4, atol=1e-5)


@every_decoder_and_injection
def test_reconstruction_sums_over_the_tokens_and_eos_but_not_bos(build, make_texts, decoder, injection):
    model, batch, noise = build("bert", decoder, "mean", injection), make_texts(LENGTHS), standard_normal(3, 5)
    output = terms(model, batch, noise)
    for row, length in enumerate(LENGTHS):
        tokens = batch["input_ids"][row, :length]
        inputs = torch.cat([torch.tensor([BOS]), tokens[:-1]])
        with torch.no_grad():
            logits = model.decode(output["latents"][[row]], inputs[None])[0]  # (T, V)
        assert tokens[-1] == EOS and logits.shape == (length, 37)
        expected = -log_softmax(logits, -1)[range(length), tokens]
        torch.testing.assert_close(output["reconstruction"][row], expected.sum(), rtol=1e-5, atol=1e-5)
        padded = torch.cat([tokens, torch.tensor([-100, -100])])
        with torch.no_grad():
            nll = model.token_nll(output["latents"][[row]], padded[None])[0]
        torch.testing.assert_close(nll, torch.cat([expected, torch.zeros(2)]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("decoder", DECODERS)
def test_the_loss_is_the_negative_elbo(build, make_texts, decoder):
    model, batch, noise = build("bert", decoder), make_texts(LENGTHS), standard_normal(3, 5)
    with torch.no_grad():
        output, posterior = model(**batch, noise=noise), model.encode(**batch)
    assert isinstance(posterior, Normal) and posterior.batch_shape == (3, 5)
    torch.testing.assert_close(posterior.scale, torch.exp(output.logvar / 2))
    torch.testing.assert_close(posterior.loc, output.mean)
    torch.testing.assert_close(output.latents, posterior.loc + posterior.scale * noise)
    torch.testing.assert_close(output.kl, kl_divergence(posterior, Normal(0.0, 1.0)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(output.loss, (output.reconstruction + output.kl.sum(-1)).mean())


def test_noise_is_drawn_from_torch_when_not_given(build, make_texts):
    model, batch = build(), make_texts(LENGTHS)
    drawn = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        drawn.append(model(**batch).latents)
    assert torch.equal(drawn[0], drawn[1]) and not torch.isclose(drawn[0], drawn[2]).any()


# what the decoder sees


@every_decoder_and_injection
def test_z_enters_where_the_config_says(build, decoder, injection):
    model, latents = build("bert", decoder, "mean", injection), standard_normal(3, 5)
    ids = torch.randint(4, 37, (3, 7), generator=torch.Generator().manual_seed(0))
    embeds, length = model.decoder.get_input_embeddings()(ids), model.config.prefix_length
    if length:
        prefix = [torch.stack(z.split(embeds.shape[-1])) for z in model.injection.to_prefix(latents)]
        embeds = torch.cat([torch.stack(prefix), embeds], dim=1)
    if "embedding" in model.config.latent_injection:
        embeds = embeds + model.injection.to_embedding(latents)[:, None]
    assert embeds.shape[1] == length + 7
    expected = model.decoder(inputs_embeds=embeds).logits[:, length:]
    if "output" in model.config.latent_injection:
        expected = expected + (model.injection.to_output(latents) @ model.get_output_embeddings().weight.T)[:, None]
    torch.testing.assert_close(model.decode(latents, ids), expected, rtol=1e-4, atol=1e-5)


@every_decoder_and_injection
def test_decoding_is_causal_and_reads_its_input(build, decoder, injection):
    model, latents = build("bert", decoder, "mean", injection), standard_normal(3, 5)
    ids = torch.randint(4, 37, (3, 7), generator=torch.Generator().manual_seed(0))
    changed = ids.clone()
    changed[:, 4] = 4 + (ids[:, 4] - 3) % 33  # another ordinary token
    with torch.no_grad():
        before, after = model.decode(latents, ids), model.decode(latents, changed)
    torch.testing.assert_close(after[:, :4], before[:, :4], rtol=1e-5, atol=1e-6)
    assert ((after[:, 4:] - before[:, 4:]).abs().amax(-1) > 1e-3).all()


@every_decoder_and_injection
def test_every_position_and_every_dimension_of_z_matters(build, decoder, injection):
    model, latents = build("bert", decoder, "mean", injection), standard_normal(3, 5).requires_grad_()
    logits = model.decode(latents, torch.randint(4, 37, (3, 7), generator=torch.Generator().manual_seed(0)))
    directions = standard_normal(7, 37)
    for position in range(7):
        (gradient,) = torch.autograd.grad(
            (logits[:, position] * directions[position]).sum(), latents, retain_graph=True
        )
        assert (gradient.abs() > 1e-5).all()


@pytest.mark.parametrize("decoder", DECODERS)
def test_other_labels_are_reconstructed_from_the_given_text(build, make_texts, decoder):
    model, source, target = build("bert", decoder), make_texts(LENGTHS), make_texts([5, 7, 2], seed=1)
    labels = target["input_ids"].masked_fill(target["attention_mask"] == 0, IGNORED)
    noise = standard_normal(3, 5)
    with torch.no_grad():
        output = model(**source, labels=labels, noise=noise)
        plain = model(**source, noise=noise)
        copied = model(**target, latents=output.latents)
    assert torch.equal(output.mean, plain.mean) and torch.equal(output.kl, plain.kl)
    torch.testing.assert_close(output.reconstruction, copied.reconstruction)
    assert not torch.isclose(output.reconstruction, plain.reconstruction).any()


@pytest.mark.parametrize("decoder", DECODERS)
def test_given_latents_and_decoder_inputs_are_used(build, make_texts, decoder):
    model, batch, latents = build("bert", decoder), make_texts(LENGTHS), standard_normal(3, 5)
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, IGNORED)
    usual = shift_right(labels, BOS, PAD)
    dropped = usual.masked_fill(torch.arange(9) % 2 == 1, 1)  # word dropout, as the batches make it
    with torch.no_grad():
        output = model(**batch, latents=latents)
        assert torch.equal(output.latents, latents)
        torch.testing.assert_close(output.reconstruction, model.reconstruction(latents, labels))
        explicit = model(**batch, latents=latents, decoder_input_ids=usual)
        torch.testing.assert_close(explicit.reconstruction, output.reconstruction)
        found = model(**batch, latents=latents, decoder_input_ids=dropped).reconstruction
        logits = model.decode(latents, dropped)
    token_nll = -log_softmax(logits, -1).gather(-1, batch["input_ids"][..., None]).squeeze(-1)
    torch.testing.assert_close(found, (token_nll * batch["attention_mask"]).sum(1), rtol=1e-4, atol=1e-4)
    assert not torch.isclose(found, output.reconstruction).any()


def test_shift_right_starts_every_row_with_bos_whatever_its_padding():
    labels = torch.tensor([[7, 8, EOS], [9, EOS, IGNORED], [EOS, IGNORED, IGNORED]])
    expected = [[BOS, 7, 8], [BOS, 9, EOS], [BOS, EOS, PAD]]
    assert shift_right(labels, BOS, PAD).tolist() == expected
    assert labels[2].tolist() == [EOS, IGNORED, IGNORED]  # untouched


def test_a_missing_mask_means_no_padding(build, make_texts):
    model, batch, noise = build(), make_texts([6, 6]), standard_normal(2, 5)
    assert_same(terms(model, {"input_ids": batch["input_ids"]}, noise), terms(model, batch, noise))


# the posterior


def test_poolings_by_hand():
    states = standard_normal(2, 4, 3)
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    attention = Pooling("attention", 3)
    scores = states @ attention.score.weight[0] + attention.score.bias
    weights = [scores[0].exp() / scores[0].exp().sum(), scores[1, :2].exp() / scores[1, :2].exp().sum()]
    expected = {
        "mean": [states[0].mean(0), (states[1, 0] + states[1, 1]) / 2],
        "cls": [states[0, 0], states[1, 0]],
        "last": [states[0, 3], states[1, 1]],
        "max": [states[0].max(0).values, torch.maximum(states[1, 0], states[1, 1])],
        "attention": [weights[0] @ states[0], weights[1] @ states[1, :2]],
    }
    for kind in POOLINGS:
        pooling = attention if kind == "attention" else Pooling(kind, 3)
        torch.testing.assert_close(pooling(states, mask), torch.stack(expected[kind]))
        states_with_nan = states.masked_fill(mask[..., None] == 0, float("nan"))
        torch.testing.assert_close(pooling(states_with_nan, mask), torch.stack(expected[kind]))
        for dtype in (torch.bfloat16, torch.float16):
            with torch.autocast("cpu", dtype):
                torch.testing.assert_close(pooling(states, mask), torch.stack(expected[kind]), rtol=0.02, atol=0.02)


def test_each_query_gives_its_share_of_the_dimensions(make_model, make_texts):
    model, batch = make_model(pooling="queries", pooling_queries=2, latent_size=6), make_texts([6, 3])
    before = model.encode(**batch).mean
    with torch.no_grad():
        model.posterior.pooling.queries[1] += 1
    after = model.encode(**batch).mean
    assert after[:, :3].equal(before[:, :3]) and (after[:, 3:] != before[:, 3:]).all()


def test_a_query_without_preference_is_the_mean_of_the_values():
    pooling, states = QueryPooling(3, 8), standard_normal(2, 4, 8)
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    with torch.no_grad():
        pooling.queries.zero_()
    attention = pooling.attention
    values = states @ attention.in_proj_weight[16:].T + attention.in_proj_bias[16:]
    means = torch.stack([values[0].mean(0), values[1, :2].mean(0)])
    torch.testing.assert_close(pooling(states, mask), attention.out_proj(means).unsqueeze(1).expand(-1, 3, -1))
    states_with_nan = states.masked_fill(mask[..., None] == 0, float("nan"))
    torch.testing.assert_close(pooling(states_with_nan, mask), pooling(states, mask))


def test_the_log_variance_stays_within_its_bounds_and_the_loss_finite(build, make_texts):
    model = build(min_logvar=-6.0, max_logvar=3.0)
    with torch.no_grad():
        model.posterior.to_mean.weight.mul_(1e3)
        model.posterior.to_logvar.weight.mul_(1e4)
        output = model(**make_texts(LENGTHS), noise=standard_normal(3, 5))
    assert output.logvar.min() == -6 and output.logvar.max() == 3
    assert output.loss.isfinite() and output.kl.isfinite().all()


@pytest.mark.parametrize("pretrained_parts", [False, True])
def test_the_posterior_starts_at_the_initial_logvar(build, make_texts, pretrained_parts):
    config = build(initial_logvar=-1.5).config
    parts = [build().encoder, build().decoder] if pretrained_parts else []
    output = TextVAEModel(config, *parts).eval()(**make_texts(LENGTHS))
    assert torch.equal(output.logvar, torch.full((3, 5), -1.5))
    assert (output.mean.abs() > 1e-6).all()


# memory


@contextmanager
def saved_for_backward():
    """Collects the number of elements of every tensor kept for the backward pass."""
    sizes = []

    def pack(tensor):
        sizes.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield sizes


class LargestTensor(TorchDispatchMode):
    """Remembers the most elements that any operation returned."""

    numel = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, torch.Tensor):
                self.numel = max(self.numel, tensor.numel())
        return result


@pytest.mark.parametrize("decoder", ["gru2", "gpt2", "llama", "gemma2"])
def test_the_logits_of_a_batch_are_never_held(build, make_texts, monkeypatch, decoder):
    monkeypatch.setattr(cross_entropy, "CHUNK_LOGITS", 400 * 16)
    sizes, changes = {"vocab_size": 400}, {}
    if decoder == "gemma2":
        decoder, changes = "llama", {"model_type": "gemma2", "head_dim": 8, "final_logit_softcapping": 3.0}
    model = build("bert", decoder, encoder_changes=sizes, decoder_changes=sizes | changes).train()
    batch = make_texts([22] * 12)  # N 264 predicted tokens
    with LargestTensor() as largest, saved_for_backward() as saved:
        model(**batch).loss.backward()
    assert saved and max(saved) < 264 * 400 / 4
    assert largest.numel < 264 * 400 / 4
    with LargestTensor() as largest, torch.no_grad():
        model(**batch)
    assert largest.numel < 264 * 400 / 4


def test_chunks_change_no_value_and_no_gradient(build, make_texts, monkeypatch):
    found = []
    for size in (1, 37 * 4, 2**22):
        monkeypatch.setattr(cross_entropy, "CHUNK_LOGITS", size)
        model = build("bert", "gpt2")
        output = model(**make_texts(LENGTHS), noise=standard_normal(3, 5))
        output.loss.backward()
        found.append({"loss": output.loss, **{name: p.grad for name, p in model.named_parameters()}})
    assert_same(found[1], found[0], rtol=1e-4, atol=1e-6)
    assert_same(found[2], found[0], rtol=1e-4, atol=1e-6)


# parameters and gradients


@every_combination
def test_every_parameter_gets_a_gradient(build, make_texts, encoder, decoder, pooling, injection):
    """DistributedDataParallel stops at a parameter that has none."""
    model = build(encoder, decoder, pooling, injection).train()
    model(**make_texts(LENGTHS)).loss.backward()
    without = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert without == []
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    assert not any("pooler" in name for name in model.state_dict())


@pytest.mark.parametrize(("encoder", "decoder"), [("bert", "gpt2"), ("t5", "llama"), ("roberta", "gru2")])
def test_gradient_checkpointing_changes_no_value_and_no_gradient(build, make_texts, encoder, decoder):
    found, held = [], []
    for checkpointing in (False, True):
        model = build(encoder, decoder, "mean", "both2").train()
        if checkpointing:
            checkpoint_activations(model)
        with saved_for_backward() as saved:
            output = model(**make_texts(LENGTHS), noise=standard_normal(3, 5))
        output.loss.backward()
        held.append(sum(saved))
        found.append({"loss": output.loss, **{name: p.grad for name, p in model.named_parameters()}})
    assert_same(found[1], found[0], rtol=1e-5, atol=1e-6)
    assert held[1] < held[0]  # it did something


@every_decoder_and_injection
def test_under_bf16_autocast_terms_stay_fp32_and_close(build, make_texts, decoder, injection):
    model, batch, noise = build("bert", decoder, "mean", injection), make_texts(LENGTHS), standard_normal(3, 5)
    expected = terms(model, batch, noise)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = terms(model, batch, noise)
    with torch.autocast("cpu", dtype=torch.bfloat16):  # its own: torch 2.8 keeps what it cast without gradients
        output = model(**batch, noise=noise)
    output.loss.backward()
    assert all(value.dtype == torch.float32 for value in found.values())
    assert_same(found, expected, rtol=0.1, atol=0.1)
    torch.testing.assert_close(output.reconstruction, found["reconstruction"], rtol=0.01, atol=0.01)
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


# saving and opening


@pytest.mark.parametrize("decoder", DECODERS)
def test_saved_and_opened_it_is_the_same_model(build, make_texts, tmp_path, decoder):
    model, batch, noise = build("bert", decoder, "attention", "both2"), make_texts(LENGTHS), standard_normal(3, 5)
    model.save_pretrained(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "config.json",
        "generation_config.json",
        "model.safetensors",
    }
    opened = TextVAEModel.from_pretrained(tmp_path)
    assert not opened.training
    assert opened.state_dict().keys() == model.state_dict().keys()
    expected = terms(model, batch, noise)
    found = terms(opened, batch, noise)
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert_padding_changes_nothing(opened, make_texts)
    again = tmp_path / "again"
    opened.save_pretrained(again)
    twice = terms(TextVAEModel.from_pretrained(again), batch, noise)
    assert all(torch.equal(twice[name], value) for name, value in expected.items())


def test_the_auto_classes_open_it(build, tmp_path):
    model = build("bert", "gru2")
    model.save_pretrained(tmp_path)
    config = AutoConfig.from_pretrained(tmp_path)
    assert isinstance(config, TextVAEConfig) and config.decoder.num_hidden_layers == 2
    opened = AutoModel.from_pretrained(tmp_path)
    assert isinstance(opened, TextVAEModel)
    assert all(torch.equal(value, opened.state_dict()[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("decoder", ["gru", "gpt2"])
def test_tied_weights_stay_tied(build, make_texts, tmp_path, decoder):
    build("bert", decoder).save_pretrained(tmp_path)
    opened = TextVAEModel.from_pretrained(tmp_path)
    assert opened.decoder.get_output_embeddings().weight is opened.decoder.get_input_embeddings().weight
    untied = build("bert", decoder, decoder_changes={"tie_word_embeddings": False})
    untied.save_pretrained(tmp_path / "untied")
    opened = TextVAEModel.from_pretrained(tmp_path / "untied")
    embeddings, head = opened.decoder.get_input_embeddings().weight, opened.decoder.get_output_embeddings().weight
    assert head is not embeddings and not torch.equal(head, embeddings)
    assert torch.equal(head, untied.decoder.get_output_embeddings().weight)


@pytest.mark.parametrize("decoder", ["gpt2", "llama"])
def test_attention_implementations_agree_and_all_mask_padding(build, make_texts, tmp_path, decoder):
    model, batch, noise = build("bert", decoder, "mean", "both2"), make_texts(LENGTHS), standard_normal(3, 5)
    expected = terms(model, batch, noise)
    model.save_pretrained(tmp_path)
    for implementation in ("eager", "sdpa"):
        opened = TextVAEModel.from_pretrained(tmp_path, attn_implementation=implementation)
        for part in (opened.encoder, opened.decoder):
            assert part.config._attn_implementation == implementation
        assert_same(terms(opened, batch, noise), expected, rtol=1e-4, atol=1e-5)
        assert_padding_changes_nothing(opened, make_texts)


# pretrained parts


@pytest.fixture
def saved_parts(make_part, shaken, tmp_path):
    def save(encoder, decoder):
        torch.manual_seed(3)
        text_encoding = AutoModelForTextEncoding if encoder == "t5-encoder" else AutoModel
        values = make_part("encoder", encoder.removesuffix("-encoder"))
        first = shaken(text_encoding.from_config(AutoConfig.for_model(**values)))
        second = shaken(AutoModelForCausalLM.from_config(AutoConfig.for_model(**make_part("decoder", decoder))))
        first.save_pretrained(tmp_path / "encoder")
        second.save_pretrained(tmp_path / "decoder")
        return first, second

    return save


@pytest.mark.parametrize(("encoder", "decoder"), [("bert", "llama"), ("t5", "llama"), ("t5-encoder", "gru")])
def test_two_pretrained_parts_keep_their_weights(saved_parts, make_texts, tmp_path, encoder, decoder):
    parts = saved_parts(encoder, decoder)
    paths = [str(tmp_path / "encoder"), str(tmp_path / "decoder")]
    model = TextVAEModel.from_encoder_decoder(*paths, latent_size=4, latent_injection=["prefix"], latent_tokens=2)
    assert model.config.latent_size == 4 and model.config.prefix_length == 2
    assert (model.config.bos_token_id, model.config.eos_token_id) == (2, 3)  # the decoder's own
    for saved, used in zip(parts, (model.encoder, model.decoder), strict=True):
        weights = saved.state_dict()
        assert all(torch.equal(value, weights[name]) for name, value in used.state_dict().items())
        missing = weights.keys() - used.state_dict().keys()
        assert all(name.startswith(("pooler.", "decoder.")) for name in missing)  # T5's decoder, BERT's pooler
    model.eval()
    assert_padding_changes_nothing(model, make_texts)
    model.save_pretrained(tmp_path / "both")
    opened = TextVAEModel.from_pretrained(tmp_path / "both")
    batch, noise = make_texts(LENGTHS), standard_normal(3, 4)
    assert_same(terms(opened, batch, noise), terms(model, batch, noise), rtol=0, atol=0)


# the language model that a VAE is compared with


@pytest.mark.parametrize("decoder", ["gru", "gpt2"])
def test_a_language_model_is_the_decoder_alone(make_model, make_texts, tmp_path, decoder):
    model, batch = make_model("bert", decoder, latent_injection="none"), make_texts(LENGTHS)
    assert {name.partition(".")[0] for name, _ in model.named_parameters()} == {"decoder"}
    output = model(**batch)
    assert torch.equal(output.kl, torch.zeros(3, 5)) and output.loss == output.reconstruction.mean()
    logits = model.decoder(shift_right(batch["input_ids"], BOS, PAD)).logits
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, IGNORED)
    expected = torch.nn.functional.cross_entropy(logits.transpose(1, 2), labels, reduction="none").sum(1)
    torch.testing.assert_close(output.reconstruction, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(model.decode(output.latents, shift_right(batch["input_ids"], BOS, PAD)), logits)
    model.save_pretrained(tmp_path)
    opened = TextVAEModel.from_pretrained(tmp_path)
    assert opened.config.is_language_model and opened.encoder is None
    assert torch.equal(opened(**batch).reconstruction, output.reconstruction)


@pytest.mark.parametrize("decoder", ["gru", "gpt2"])
def test_a_language_model_writes_the_same_from_every_z(make_model, decoder):
    model = make_model("bert", decoder, latent_injection="none")
    ids = model.generate(standard_normal(4, 5), max_new_tokens=7, do_sample=False)
    assert torch.equal(ids, ids[:1].expand(4, -1)) and ids.shape[1] > 1
    start = torch.full((1, 1), BOS)
    expected = model.decoder.generate(start, max_new_tokens=7, do_sample=False, pad_token_id=PAD, eos_token_id=EOS)
    assert torch.equal(ids[:1], expected)
    drawn = model.generate(standard_normal(4, 5), max_new_tokens=7, do_sample=True)
    assert len(drawn) == 4 and (drawn[:, 0] == BOS).all()


# batch norm on the means


def moments(tensor):
    return tensor.mean(0), tensor.std(0, correction=0)


@pytest.mark.parametrize("gamma", [0.3, 1.5])
def test_in_training_the_means_of_a_batch_have_the_center_and_the_scale_they_are_given(build, make_texts, gamma):
    model = build(mean_batch_norm=gamma).train()
    output = model(**make_texts([9, 4, 6, 7, 3, 5, 8]))
    center, spread = moments(output.mean)
    assert model.posterior.mean_norm.center.abs().max() > 0.1
    torch.testing.assert_close(center, model.posterior.mean_norm.center, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(spread, torch.full((5,), gamma), rtol=1e-3, atol=0)
    assert output.kl.mean(0).sum() >= 5 * gamma**2 / 2


def test_the_kl_stays_above_its_bound_where_the_posterior_has_collapsed(build, make_texts):
    """All but equal means, at the prior's variance: what is left of the KL is Z · γ² / 2 (Zhu et al. 2020, eq. 11)."""
    model = build(mean_batch_norm=0.8).train()
    posterior = model.posterior
    with torch.no_grad():
        posterior.mean_norm.center.zero_(), posterior.to_logvar.weight.zero_(), posterior.to_logvar.bias.zero_()
        posterior.to_mean.weight.mul_(0.5)
    kl = model(**make_texts([9, 4, 6, 7, 3, 5, 8])).kl
    assert kl.mean(0).sum().item() == pytest.approx(5 * 0.8**2 / 2, rel=2e-3)


def test_in_evaluation_the_running_statistics_count_and_each_text_for_itself(build, make_texts):
    model, batch = build(mean_batch_norm=0.7), make_texts([9, 4, 6, 7])
    raw = {name: value for name, value in model.state_dict().items() if "mean_norm" not in name}
    plain = build()
    plain.load_state_dict(raw)
    unscaled = plain.posterior_parameters(**batch)[0]
    model.train()
    for _ in range(200):
        model.posterior_parameters(**batch)
    model.eval()
    found = model.posterior_parameters(**batch)[0]
    wanted = (unscaled - unscaled.mean(0)) / (unscaled.var(0) + 1e-5).sqrt() * 0.7 + model.posterior.mean_norm.center
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)
    for row in range(4):
        alone = {name: value[row : row + 1] for name, value in batch.items()}
        torch.testing.assert_close(model.posterior_parameters(**alone)[0], found[row : row + 1], rtol=1e-4, atol=1e-5)


def test_a_batch_of_one_text_trains_with_the_running_statistics(build, make_texts):
    model, one = build(mean_batch_norm=0.7), make_texts([6])
    expected = model.posterior_parameters(**one)[0]
    running = model.posterior.mean_norm.norm.running_mean.clone()
    model.train()
    output = model(**one)
    output.loss.backward()
    torch.testing.assert_close(output.mean, expected)
    assert output.loss.isfinite() and model.posterior.to_mean.weight.grad.abs().sum() > 0
    assert torch.equal(model.posterior.mean_norm.norm.running_mean, running)


def test_the_gradient_reaches_the_encoder_through_the_batch_norm(build, make_texts):
    model = build(mean_batch_norm=0.7).train()
    model(**make_texts(LENGTHS)).reconstruction.sum().backward()
    assert model.posterior.mean_norm.center.grad.abs().min() > 0
    assert model.encoder.get_input_embeddings().weight.grad.abs().sum() > 0


def test_saved_and_opened_the_batch_norm_keeps_scale_center_and_statistics(build, make_texts, tmp_path):
    model, batch = build(mean_batch_norm=0.7).train(), make_texts(LENGTHS)
    for _ in range(5):
        model.posterior_parameters(**batch)
    model.eval().save_pretrained(tmp_path)
    opened = TextVAEModel.from_pretrained(tmp_path)
    assert opened.config.mean_batch_norm == opened.posterior.mean_norm.scale == 0.7
    assert opened.posterior.mean_norm.norm.num_batches_tracked == 5
    for name, value in model.posterior.mean_norm.state_dict().items():
        assert torch.equal(opened.posterior.mean_norm.state_dict()[name], value), name
    noise = standard_normal(3, 5)
    assert_same(terms(opened, batch, noise), terms(model, batch, noise), rtol=0, atol=0)


# the committed rate


@pytest.mark.parametrize("rate", [0.01, 0.1, 1.0, 4.0])
@pytest.mark.parametrize("scale", [0.0, 1.0, 1000.0])
def test_every_dimension_has_the_committed_rate_whatever_the_weights(build, make_texts, shaken, rate, scale):
    for seed in range(5):
        model = build(committed_rate=rate)
        shaken(model.posterior.to_logvar, scale, seed), shaken(model.posterior.to_mean, scale, seed)
        kl = model(**make_texts(LENGTHS)).kl
        assert kl.min() >= rate - 1e-5 and kl.isfinite().all()


def test_the_committed_rate_is_reached_where_the_posterior_would_be_the_prior(build, make_texts):
    model = build(committed_rate=0.2)
    with torch.no_grad():
        for module in (model.posterior.to_mean, model.posterior.to_logvar):
            module.weight.zero_(), module.bias.zero_()
        model.posterior.to_logvar.bias.fill_(30.0)
    torch.testing.assert_close(model(**make_texts(LENGTHS)).kl, torch.full((3, 5), 0.2), rtol=1e-4, atol=0)


@pytest.mark.parametrize("distance", [-8.0, -1.0, 0.0, 1.0, 8.0, 30.0])
def test_the_log_variance_has_a_gradient_on_either_side_of_its_limit(build, make_texts, distance):
    model = build(committed_rate=0.2)
    with torch.no_grad():
        model.posterior.to_logvar.weight.zero_()
        model.posterior.to_logvar.bias.fill_(model.posterior.logvar_limit + distance)
    _, logvar = model.posterior_parameters(**make_texts(LENGTHS))
    logvar.sum().backward()
    assert (logvar <= model.posterior.logvar_limit).all()
    assert (model.posterior.to_logvar.bias.grad > 0).all()
    if distance == -8.0:  # far below it nothing is changed
        torch.testing.assert_close(logvar, torch.full((3, 5), model.posterior.logvar_limit - 8), rtol=0, atol=1e-3)
        torch.testing.assert_close(model.posterior.to_logvar.bias.grad, torch.full((5,), 3.0), rtol=1e-3, atol=0)


def test_the_committed_rate_goes_with_the_bounds_of_the_log_variance(build, make_texts, shaken):
    model = build(committed_rate=0.5, min_logvar=-3.0)
    shaken(model.posterior.to_logvar, 100.0)
    output = model(**make_texts(LENGTHS))
    assert output.logvar.min() == -3 and output.logvar.max() <= model.posterior.logvar_limit
    assert output.kl.min() >= 0.5 - 1e-5


@pytest.mark.parametrize(("rate", "bounds"), [(20.0, {}), (0.5, {"min_logvar": -1.0})])
def test_a_rate_that_the_bounds_rule_out_is_refused(build, rate, bounds):
    with pytest.raises(InputError, match=f"committed_rate of {rate:g} nats .* give a lower rate"):
        build(committed_rate=rate, **bounds)


def test_saved_and_opened_it_is_committed_to_the_same_rate(build, make_texts, tmp_path):
    model, batch, noise = build(committed_rate=0.3), make_texts(LENGTHS), standard_normal(3, 5)
    model.save_pretrained(tmp_path)
    assert_same(terms(TextVAEModel.from_pretrained(tmp_path), batch, noise), terms(model, batch, noise))


# the bag of words


@every_decoder_and_injection
def test_the_bag_of_words_is_the_sum_over_the_tokens_by_hand(build, make_texts, decoder, injection):
    model, batch = build(decoder=decoder, injection=injection, bag_of_words=True), make_texts(LENGTHS)
    with torch.no_grad():
        output = model(**batch)
        first, _, second = model.to_bag_of_words
        for row, (ids, length) in enumerate(zip(batch["input_ids"], LENGTHS, strict=True)):
            hidden = torch.tanh(first.weight @ output.latents[row] + first.bias)
            scores = log_softmax(second.weight @ hidden + second.bias, -1)
            by_hand = -sum(scores[token] for token in ids[:length])
            torch.testing.assert_close(output.bag_of_words[row], by_hand, rtol=1e-4, atol=1e-4)


def test_padding_does_not_change_the_bag_of_words(build, make_texts):
    model, noise = build(bag_of_words=True), standard_normal(3, 5)
    narrow, wide = make_texts(LENGTHS), make_texts(LENGTHS, width=14)
    wide["input_ids"][:, :9] = narrow["input_ids"]
    found, expected = (model(**batch, noise=noise).bag_of_words for batch in (wide, narrow))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_the_gradient_of_the_bag_of_words_reaches_the_encoder_and_not_the_decoder(build, make_texts):
    model = build(bag_of_words=True)
    model(**make_texts(LENGTHS)).bag_of_words.sum().backward()
    assert model.encoder.get_input_embeddings().weight.grad.abs().sum() > 0
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.to_bag_of_words.parameters())
    assert all(parameter.grad is None for parameter in model.decoder.parameters())


def test_the_bag_of_words_is_no_part_of_the_loss_and_absent_without_its_head(build, make_texts):
    with_head, without, batch, noise = build(bag_of_words=True), build(), make_texts(LENGTHS), standard_normal(3, 5)
    output = with_head(**batch, noise=noise)
    torch.testing.assert_close(output.loss, (output.reconstruction + output.kl.sum(-1)).mean())
    assert without(**batch).bag_of_words is None and without.to_bag_of_words is None


def test_the_bag_of_words_stays_fp32_under_bf16_autocast(build, make_texts):
    model, batch, noise = build(bag_of_words=True), make_texts(LENGTHS), standard_normal(3, 5)
    expected = model(**batch, noise=noise).bag_of_words
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = model(**batch, noise=noise).bag_of_words
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0.05, atol=0)


def test_saved_and_opened_it_has_the_same_bag_of_words(build, make_texts, tmp_path):
    model, batch, noise = build(bag_of_words=True), make_texts(LENGTHS), standard_normal(3, 5)
    model.save_pretrained(tmp_path)
    opened = TextVAEModel.from_pretrained(tmp_path)
    assert torch.equal(opened(**batch, noise=noise).bag_of_words, model(**batch, noise=noise).bag_of_words)


# what reads z


@pytest.mark.parametrize("injection", INJECTIONS)
def test_what_is_no_decoding_module_is_what_the_posterior_comes_from(build, make_texts, injection):
    model = build(injection=injection, bag_of_words=True, mean_batch_norm=0.5)
    of_decoding = {id(p) for module in model.decoding_modules().values() for p in module.parameters()}
    others = {name.split(".")[0] for name, p in model.named_parameters() if id(p) not in of_decoding}
    assert others == {"encoder", "posterior"}
    sum(tensor.sum() for tensor in model.posterior_parameters(**make_texts(LENGTHS))).backward()
    assert all((p.grad is None) == (id(p) in of_decoding) for p in model.parameters())
