"""The priors of a pipeline: fitted, drawn from, saved, opened, refused."""

import pytest
import torch
from tiny_pipelines import LABELS, LATENT_SIZE, TEXTS, build

from textvae import InputError, TextVAEConfig, TextVAEModel, TextVAEPipeline
from textvae.latents import FlowPrior, GaussianPrior, MixturePrior, flow
from textvae.pipeline.draws import Draws
from textvae.pipeline.priors import KINDS, PRIOR_FILES, save_prior

MANY = [f"{text} {word}" for text in TEXTS for word in ("we", "like", "pizza", "garden", "movie")]


def fit_all(pipeline: TextVAEPipeline, **options) -> TextVAEPipeline:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flow, "MAX_EPOCHS", 2)
        for name in KINDS:
            pipeline.fit_prior(MANY, name, **options)
    return pipeline


@pytest.fixture
def pipeline():
    built = build()
    built.fit_prior(TEXTS)
    return built


@pytest.fixture(scope="module", params=["gru", "llama", "labels"])
def with_all(request):
    """A pipeline with a prior of each kind, and the label that its verbs need."""
    if request.param == "labels":
        labels = [LABELS[i % 2] for i in range(len(MANY))]
        return fit_all(build(label_names=LABELS), label=labels), LABELS[1]
    return fit_all(build(request.param)), None


def test_the_fitted_prior_is_that_of_the_texts(pipeline):
    with torch.no_grad():
        read = pipeline.tokenizer(TEXTS, padding=True, truncation=True, return_tensors="pt")
        posterior = pipeline.model.encode(read["input_ids"], read["attention_mask"])
    expected = GaussianPrior.fit(posterior.mean, posterior.stddev)
    torch.testing.assert_close(pipeline.priors["gaussian"].mean, expected.mean)
    torch.testing.assert_close(pipeline.priors["gaussian"].scale, expected.scale)


def test_samples_come_from_the_fitted_gaussian_unless_another_prior_is_asked_for(pipeline):
    noise = Draws(4, torch.device("cpu")).noise(9, LATENT_SIZE)
    assert pipeline.sample(9, seed=4) == pipeline.decode(pipeline.priors["gaussian"].draw(noise), num_beams=4)
    assert pipeline.sample(9, seed=4, prior="gaussian", batch_size=2) == pipeline.sample(9, seed=4)
    assert pipeline.sample(9, seed=4, prior="standard") == pipeline.decode(noise, num_beams=4)
    assert pipeline.sample(9, seed=4, prior="standard") == build().sample(9, seed=4)
    mean = pipeline.priors["gaussian"].mean[0]
    assert pipeline.sample(3, temperature=0.0) == [pipeline.decode(mean, num_beams=4)] * 3


@pytest.mark.parametrize("name", KINDS)
def test_samples_of_each_prior_are_what_is_written_for_its_draws(with_all, name):
    vae, label = with_all
    noise = Draws(4, torch.device("cpu")).noise(7, LATENT_SIZE)
    z = vae.priors[name].draw(noise, None if label is None else [LABELS.index(label)] * 7, 0.7)
    written = vae.decode(z, label=label, num_beams=4)
    for batch_size in (2, 64):
        assert vae.sample(7, 0.7, seed=4, prior=name, label=label, batch_size=batch_size) == written


def test_each_label_is_drawn_from_its_own():
    pipeline = build(label_names=LABELS)
    pipeline.fit_prior(TEXTS, label=[LABELS[0], LABELS[0], LABELS[1], LABELS[1]])
    noise = Draws(4, torch.device("cpu")).noise(4, LATENT_SIZE)
    label = [LABELS[1], LABELS[0], LABELS[0], LABELS[1]]
    z = pipeline.priors["gaussian"].draw(noise, [1, 0, 0, 1])
    assert pipeline.sample(4, seed=4, label=label) == pipeline.decode(z, label=label, num_beams=4)


@pytest.mark.parametrize("name", KINDS)
def test_evaluation_measures_the_bounds_with_each(with_all, name, tmp_path):
    vae, label = with_all
    given = {"num_importance_samples": 2, "num_prior_samples": 2, "label": label}
    report = vae.evaluate(MANY, prior=name, **given)
    assert report["fitted_negative_elbo"] == pytest.approx(report["reconstruction"] + report["fitted_kl"])
    assert report["fitted_iw_nll"] < report["fitted_negative_elbo"] + 1
    assert vae.evaluate(MANY, prior=name, batch_size=3, **given)["fitted_kl"] == pytest.approx(report["fitted_kl"])
    assert "fitted_iw_nll" not in vae.evaluate(MANY, prior="standard", **given)


@pytest.mark.parametrize("name", KINDS)
def test_the_importance_weighted_bound_is_that_of_the_density(with_all, name):
    """log of the mean of p(x|z) p(z) / q(z|x): with one sample the prior shifts it by log p(z) alone."""
    vae, label = with_all
    options = {"num_importance_samples": 1, "num_prior_samples": 2, "label": label}
    own, fitted = (vae.evaluate(MANY, prior=prior, **options) for prior in ("standard", name))
    assert fitted["iw_nll"] == pytest.approx(own["iw_nll"])
    errors = fitted["fitted_iw_nll_standard_error"] + fitted["fitted_negative_elbo_standard_error"]
    assert fitted["fitted_iw_nll"] == pytest.approx(fitted["fitted_negative_elbo"], abs=4 * errors)


def test_they_are_saved_with_the_model_and_go_with_it(with_all, tmp_path):
    vae, label = with_all
    vae.save_pretrained(tmp_path / "saved")
    vae.merge_and_save(tmp_path / "merged")
    for place in ("saved", "merged"):
        opened = TextVAEPipeline.from_pretrained(tmp_path / place)
        assert list(opened.priors) == list(KINDS)
        for name in KINDS:
            options = {"seed": 0, "prior": name, "label": label}
            assert opened.sample(5, **options) == vae.sample(5, **options)
            assert all(one.equal(vae.priors[name].tensors()[key]) for key, one in opened.priors[name].tensors().items())
    build().save_pretrained(tmp_path / "saved")  # a model without any replaces them all
    assert TextVAEPipeline.from_pretrained(tmp_path / "saved").priors == {}


def test_a_directory_with_the_gaussian_alone_opens_and_one_prior_can_be_added(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path)
    assert [path.name for path in tmp_path.glob("prior*")] == ["prior.safetensors"]
    assert list(TextVAEPipeline.from_pretrained(tmp_path).priors) == ["gaussian"]
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    mixture = fit_all(build()).priors["mixture"]
    save_prior(tmp_path, "mixture", mixture)
    assert {path: path.read_bytes() for path in before} == before
    opened = TextVAEPipeline.from_pretrained(tmp_path).priors
    assert list(opened) == ["gaussian", "mixture"] and opened["mixture"].mean.equal(mixture.mean)


@pytest.mark.parametrize("name", KINDS)
def test_a_damaged_one_or_that_of_another_model_does_not_open(with_all, tmp_path, name):
    vae, _ = with_all
    vae.save_pretrained(tmp_path)
    path = tmp_path / PRIOR_FILES[name]
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(InputError, match="corrupt"):
        TextVAEPipeline.from_pretrained(tmp_path)
    wide = GaussianPrior(torch.zeros(1, 7), torch.eye(7).unsqueeze(0))
    other = {
        "gaussian": wide,
        "mixture": MixturePrior(torch.ones(1, 1), wide.mean.unsqueeze(0), wide.scale.unsqueeze(0)),
        "flow": FlowPrior(wide, flow.FlowSize(), {"one": torch.zeros(1)}),
    }
    other[name].save(path)
    with pytest.raises(InputError, match="7 dimensions"):
        TextVAEPipeline.from_pretrained(tmp_path)
    path.unlink()
    assert name not in TextVAEPipeline.from_pretrained(tmp_path).priors


@pytest.mark.parametrize(("prior", "meant"), [("gausian", "gaussian"), ("flows", "flow"), (3, "standard"), (True, "")])
def test_another_prior_is_refused_with_the_nearest_right_one(pipeline, prior, meant):
    for use in (pipeline.sample, pipeline.evaluate):
        with pytest.raises(InputError, match=f"did you mean '{meant}" if isinstance(prior, str) else "did you mean"):
            use(TEXTS if use == pipeline.evaluate else 1, prior=prior)
    with pytest.raises(InputError, match="to fit; did you mean"):
        pipeline.fit_prior(TEXTS, prior)
    with pytest.raises(InputError, match="to fit; did you mean"):
        TextVAEPipeline(pipeline.model, pipeline.tokenizer, priors={prior: pipeline.priors["gaussian"]})
    with pytest.raises(InputError, match="give a MixturePrior"):
        TextVAEPipeline(pipeline.model, pipeline.tokenizer, priors={"mixture": pipeline.priors["gaussian"]})


def test_without_one_there_is_none_to_draw_from_and_without_z_none_to_fit():
    pipeline = build()
    for name in KINDS:
        with pytest.raises(InputError, match=f"no fitted {name}: fit one with .*'{name}'"):
            pipeline.sample(1, prior=name)
    with pytest.raises(InputError, match="none"):
        pipeline.fit_prior([])
    with pytest.raises(InputError, match="10 texts at least"):
        pipeline.fit_prior(TEXTS, "mixture")
    settings = pipeline.model.config.to_dict() | {"latent_injection": "none"}
    without = TextVAEPipeline(TextVAEModel(TextVAEConfig(**settings)), pipeline.tokenizer)
    with pytest.raises(InputError, match="without z"):
        without.fit_prior(TEXTS)
