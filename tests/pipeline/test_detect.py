"""The detector of a pipeline: calibrated, the same in any batch, saved with the model, refused where it cannot be."""

import pytest
import torch
from tiny_pipelines import LABELS, LATENT_SIZE, WORDS, build

from textvae import InputError, TextVAEConfig, TextVAEModel, TextVAEPipeline
from textvae.latents import NeighbourDistance
from textvae.pipeline import SCORES, Codec, Detection, Reading
from textvae.pipeline.detector import DETECTOR_FILE, Detector

KINDS = [("gru", ()), ("llama", ()), ("gru", LABELS), ("llama", LABELS)]
NORMAL = [f"{a} {b} {c}" for a in WORDS for b in WORDS[:4] for c in WORDS[5:9]]  # 144
HELD_OUT = [f"{a} {b}" for a in WORDS for b in WORDS[:7]]  # 63
TEXTS = ["we like pizza", "the movie , not your garden", "pizza", "like like like like"]


def fitted(decoder: str = "gru", labels: tuple[str, ...] = (), **options) -> TextVAEPipeline:
    vae = build(decoder, labels)
    vae.fit_detector(NORMAL, HELD_OUT, label=LABELS[1] if labels else None, **options)
    return vae


@pytest.fixture(scope="module", params=KINDS, ids=str)
def case(request):
    """A pipeline with a detector, and the arguments of its verbs."""
    return fitted(*request.param), {"label": LABELS[1]} if request.param[1] else {}


def test_a_detection_says_how_unusual_a_text_is(case):
    vae, options = case
    found = vae.detect(TEXTS, num_tokens=2, **options)
    terms = vae.score(TEXTS, return_tokens=True, num_samples=1, **options)
    for one, own in zip(found, terms, strict=True):
        assert isinstance(one, Detection) and 0 < one.p_value <= 1
        expected = sorted((nats for _, nats in own.tokens), reverse=True)[:2]
        assert [nats for _, nats in one.least_expected] == pytest.approx(expected, rel=1e-5)
    alone = vae.detect(TEXTS[2], **options)
    assert alone.score == pytest.approx(found[2].score, rel=1e-4) and alone.p_value == pytest.approx(found[2].p_value)


def test_batch_size_changes_no_score(case):
    vae, options = case
    vae = TextVAEPipeline(vae.model, vae.tokenizer)
    vae.fit_detector(NORMAL, HELD_OUT, score=SCORES, **options)

    def scores(batch_size: int) -> torch.Tensor:
        codec = Codec(vae.model, vae.tokenizers, batch_size)
        return Reading(codec, codec.read(TEXTS, options.get("label"))[0], vae.detector.distances).scores(SCORES)

    assert scores(64).shape == (len(TEXTS), len(SCORES))
    torch.testing.assert_close(scores(1), scores(64), rtol=1e-3, atol=1e-4)


def test_held_out_texts_have_uniform_p_values(case):
    vae, options = case
    vae = TextVAEPipeline(vae.model, vae.tokenizer)
    vae.fit_detector(NORMAL, HELD_OUT, score="reconstruction", **options)
    n = len(HELD_OUT)
    p = torch.tensor([one.p_value for one in vae.detect(HELD_OUT, **options)]).sort().values
    # A text is among its own calibration. The last digit of its score may differ in another batch.
    torch.testing.assert_close(p, torch.arange(2, n + 2) / (n + 1), rtol=0, atol=1.01 / (n + 1))


def test_several_scores_together_are_uniform_on_texts_that_calibrate_them(case):
    vae, _ = case
    together = vae.detector.together
    n = len(together)
    assert n == len(HELD_OUT) - len(vae.detector.each)
    expected = [(1 + int((together >= one).sum())) / (n + 1) for one in together]
    assert vae.detector.p_value(together).tolist() == pytest.approx(expected)


def test_the_scores_are_those_of_score_and_encode():
    def found(score: str) -> list[float]:
        return [one.score for one in fitted(score=score).detect(TEXTS)]

    vae = build()
    terms = vae.score(TEXTS, num_samples=20, return_terms=True)
    for name in ("negative_elbo", "bound", "kl"):
        assert found(name) == pytest.approx([getattr(one, name) for one in terms], rel=1e-4)
        per_token = [getattr(one, name) / one.num_tokens for one in terms]
        assert found(f"{name}_per_token") == pytest.approx(per_token, rel=1e-4)
    assert found("reconstruction") == pytest.approx([one.reconstruction_from_mean for one in terms], rel=1e-4)
    z, usual = vae.encode(TEXTS), vae.encode(NORMAL)
    expected = NeighbourDistance.fit(usual)(z)
    assert found("neighbours_latents") == pytest.approx(expected.tolist(), rel=1e-3, abs=1e-4)
    back = vae.encode(vae.reconstruct(TEXTS))
    assert found("round_trip") == pytest.approx((z - back).norm(dim=1).tolist(), rel=1e-4)


def test_without_held_out_texts_a_fifth_is_held_out():
    vae = build()
    vae.fit_detector(HELD_OUT + NORMAL, score=["kl", "neighbours_latents"])
    number = round(0.2 * len(HELD_OUT + NORMAL))
    assert len(vae.detector.each) + len(vae.detector.together) == number
    assert len(vae.detector.distances["neighbours_latents"].points) == len(HELD_OUT + NORMAL) - number


def test_it_is_saved_with_the_model_and_goes_with_it(case, tmp_path):
    vae, options = case
    expected = vae.detect(TEXTS, **options)
    vae.save_pretrained(tmp_path)
    assert TextVAEPipeline.from_pretrained(tmp_path).detect(TEXTS, **options) == expected
    vae.merge_and_save(tmp_path / "merged")
    assert TextVAEPipeline.from_pretrained(tmp_path / "merged").detect(TEXTS, **options) == expected
    in_bf16 = TextVAEPipeline.from_pretrained(tmp_path, dtype="bfloat16").detect(TEXTS, **options)
    assert [one.score for one in in_bf16] == pytest.approx([one.score for one in expected], rel=0.2, abs=0.5)
    TextVAEPipeline(vae.model, vae.tokenizer).save_pretrained(tmp_path)  # without one
    assert TextVAEPipeline.from_pretrained(tmp_path).detector is None


def test_every_score_is_saved_whole(tmp_path):
    vae = fitted(score=SCORES)
    vae.detector.save(tmp_path / DETECTOR_FILE)
    vae.detector, expected = Detector.load(tmp_path / DETECTOR_FILE), vae.detect(TEXTS)
    assert vae.detect(TEXTS) == expected


def test_a_damaged_one_or_that_of_another_model_does_not_open(tmp_path):
    vae = fitted()
    vae.save_pretrained(tmp_path)
    path = tmp_path / DETECTOR_FILE
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(InputError, match="corrupt"):
        TextVAEPipeline.from_pretrained(tmp_path)
    path.write_bytes(b"nothing")
    with pytest.raises(InputError, match="corrupt"):
        TextVAEPipeline.from_pretrained(tmp_path)
    path.write_bytes(whole)
    other = build()
    with torch.no_grad():
        other.model.posterior.to_mean.bias += 1.0
    other.save_pretrained(tmp_path / "other")
    with pytest.raises(InputError, match="another model"):
        (tmp_path / "other" / DETECTOR_FILE).write_bytes(whole)
        TextVAEPipeline.from_pretrained(tmp_path / "other")


def test_that_of_another_model_is_not_saved(tmp_path):
    vae = fitted(score="reconstruction")
    vae.save_pretrained(tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes()
    with torch.no_grad():
        vae.model.posterior.to_mean.bias += 1.0
    for save in (vae.save_pretrained, vae.merge_and_save):
        with pytest.raises(InputError, match="another model"):
            save(tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == before


def test_what_is_no_detector_is_refused():
    vae = build()
    with pytest.raises(InputError, match="fit one with"):
        TextVAEPipeline(vae.model, vae.tokenizer, detector="mine")


@pytest.mark.parametrize(
    ("score", "right"),
    [("recon", "reconstruction"), ("neighbors_latents", "neighbours_latents"), (["kl", "bond"], "bound")],
)
def test_an_unknown_score_is_refused(score, right):
    with pytest.raises(InputError, match=f"did you mean '{right}'"):
        fitted(score=score)


@pytest.mark.parametrize("score", [[], 3, [3], None])
def test_what_is_no_score_is_refused(score):
    with pytest.raises(InputError, match="score"):
        fitted(score=score)


def test_too_few_texts_are_refused():
    vae = build()
    with pytest.raises(InputError, match="needs 40 held-out texts, and there are 12"):
        vae.fit_detector(NORMAL[:60])
    with pytest.raises(InputError, match="there are 0"):
        vae.fit_detector(NORMAL, [])
    with pytest.raises(InputError, match="5 neighbours"):
        vae.fit_detector(NORMAL[:5], HELD_OUT)
    with pytest.raises(InputError, match="more texts than that"):
        vae.fit_detector(NORMAL[:LATENT_SIZE], HELD_OUT, score="mahalanobis_latents")
    with pytest.raises(InputError, match="Text 0 is blank"):
        vae.fit_detector([" "], HELD_OUT)
    assert vae.detector is None


def test_without_tokens_nothing_is_decoded_for_them():
    vae = fitted(score="neighbours_states")
    expected = [one._replace(least_expected=[]) for one in vae.detect(TEXTS)]
    vae.model.token_nll = None  # the detector's own score needs no decoder
    assert vae.detect(TEXTS, num_tokens=0) == expected


def test_without_one_there_is_nothing_to_detect_with():
    with pytest.raises(InputError, match="no detector"):
        build().detect(TEXTS)
    assert fitted().detect([]) == []
    assert fitted().detect("pizza", num_tokens=0).least_expected == []
    with pytest.raises(InputError, match="num_tokens"):
        fitted().detect(TEXTS, num_tokens=-1)


def test_without_z_only_likelihoods_can_tell():
    tiny = build()
    settings = tiny.model.config.to_dict() | {"latent_injection": "none"}
    language_model = TextVAEPipeline(TextVAEModel(TextVAEConfig(**settings)), tiny.tokenizer)
    with pytest.raises(InputError, match="without z"):
        language_model.fit_detector(NORMAL, HELD_OUT)
    language_model.fit_detector(NORMAL, HELD_OUT, score="reconstruction_per_token")
    assert len(language_model.detect(TEXTS)) == len(TEXTS)
