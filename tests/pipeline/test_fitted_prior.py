"""The prior of a pipeline: fitted, drawn from, saved, opened, refused."""

import pytest
import torch
from tiny_pipelines import LABELS, LATENT_SIZE, TEXTS, build

from textvae import InputError, TextVAEConfig, TextVAEModel, TextVAEPipeline
from textvae.latents import GaussianPrior
from textvae.pipeline.draws import Draws
from textvae.pipeline.priors import PRIOR_FILE


@pytest.fixture
def pipeline():
    built = build()
    built.fit_prior(TEXTS)
    return built


def test_the_fitted_prior_is_that_of_the_texts(pipeline):
    with torch.no_grad():
        read = pipeline.tokenizer(TEXTS, padding=True, truncation=True, return_tensors="pt")
        posterior = pipeline.model.encode(read["input_ids"], read["attention_mask"])
    expected = GaussianPrior.fit(posterior.mean, posterior.stddev)
    torch.testing.assert_close(pipeline.prior.mean, expected.mean)
    torch.testing.assert_close(pipeline.prior.scale, expected.scale)


def test_samples_come_from_the_fitted_prior_unless_the_standard_one_is_asked_for(pipeline):
    noise = Draws(4, torch.device("cpu")).noise(9, LATENT_SIZE)
    assert pipeline.sample(9, seed=4) == pipeline.decode(pipeline.prior.draw(noise), num_beams=4)
    assert pipeline.sample(9, seed=4, prior="fitted", batch_size=2) == pipeline.sample(9, seed=4)
    assert pipeline.sample(9, seed=4, prior="standard") == pipeline.decode(noise, num_beams=4)
    assert pipeline.sample(9, seed=4, prior="standard") == build().sample(9, seed=4)
    assert pipeline.sample(3, temperature=0.0) == [pipeline.decode(pipeline.prior.mean[0], num_beams=4)] * 3


def test_each_label_is_drawn_from_its_own():
    pipeline = build(label_names=LABELS)
    pipeline.fit_prior(TEXTS, label=[LABELS[0], LABELS[0], LABELS[1], LABELS[1]])
    noise = Draws(4, torch.device("cpu")).noise(4, LATENT_SIZE)
    label = [LABELS[1], LABELS[0], LABELS[0], LABELS[1]]
    z = pipeline.prior.draw(noise, [1, 0, 0, 1])
    assert pipeline.sample(4, seed=4, label=label) == pipeline.decode(z, label=label, num_beams=4)


def test_evaluation_measures_it(pipeline):
    report = pipeline.evaluate(TEXTS, num_importance_samples=2)
    assert report["fitted_negative_elbo"] == pytest.approx(report["reconstruction"] + report["fitted_kl"])
    pipeline.prior = None
    assert "fitted_iw_nll" not in pipeline.evaluate(TEXTS, num_importance_samples=2)


def test_it_is_saved_with_the_model_and_goes_with_it(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path)
    opened = TextVAEPipeline.from_pretrained(tmp_path)
    assert opened.prior.mean.equal(pipeline.prior.mean) and opened.prior.scale.equal(pipeline.prior.scale)
    assert opened.sample(5, seed=0) == pipeline.sample(5, seed=0)
    pipeline.merge_and_save(tmp_path / "merged")
    assert TextVAEPipeline.from_pretrained(tmp_path / "merged").prior.scale.equal(pipeline.prior.scale)
    build().save_pretrained(tmp_path)  # a model without one replaces both
    assert TextVAEPipeline.from_pretrained(tmp_path).prior is None


def test_a_damaged_one_or_that_of_another_model_does_not_open(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path)
    path = tmp_path / PRIOR_FILE
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(InputError, match="corrupt"):
        TextVAEPipeline.from_pretrained(tmp_path)
    GaussianPrior(torch.zeros(1, 7), torch.eye(7).unsqueeze(0)).save(path)
    with pytest.raises(InputError, match="7 dimensions"):
        TextVAEPipeline.from_pretrained(tmp_path)
    path.unlink()
    assert TextVAEPipeline.from_pretrained(tmp_path).prior is None


@pytest.mark.parametrize("prior", ["fited", 3, True])
def test_another_prior_is_refused(pipeline, prior):
    with pytest.raises(InputError, match="'fitted' or 'standard'"):
        pipeline.sample(1, prior=prior)
    with pytest.raises(InputError, match="give a GaussianPrior"):
        TextVAEPipeline(pipeline.model, pipeline.tokenizer, prior=prior)


def test_without_one_there_is_none_to_draw_from_and_without_z_none_to_fit():
    pipeline = build()
    with pytest.raises(InputError, match="no fitted prior"):
        pipeline.sample(1, prior="fitted")
    with pytest.raises(InputError, match="none"):
        pipeline.fit_prior([])
    settings = pipeline.model.config.to_dict() | {"latent_injection": "none"}
    without = TextVAEPipeline(TextVAEModel(TextVAEConfig(**settings)), pipeline.tokenizer)
    with pytest.raises(InputError, match="without z"):
        without.fit_prior(TEXTS)
