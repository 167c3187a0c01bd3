"""Paraphrases: how far they are from their text, who ranks them, and what their scores are."""

import itertools
import math

import pytest
import torch
from tiny_pipelines import DECODERS, LABELS, TEXTS, build, pipeline
from tiny_runs import save_encoder

from textvae.data.unigram import train_tokenizer
from textvae.data.words import bare_words, shared_words, word_distance
from textvae.errors import InputError
from textvae.pipeline.codec import Codec
from textvae.pipeline.paraphrase import Candidates, every_character_counts
from textvae.pipeline.ranking import diverse

FEW = {"num_return_sequences": 3, "num_candidates": 8, "seed": 0, "progress": False}


@pytest.fixture(scope="module", params=[(kind, names) for kind in DECODERS for names in ((), LABELS)], ids=str)
def vae(request):
    return pipeline(*request.param)


def labelled(vae) -> dict:
    return {"label": [LABELS[i % 2] for i in range(len(TEXTS))]} if vae.model.config.label_names else {}


@pytest.mark.parametrize("distance", [1, 3])
def test_each_paraphrase_differs_in_so_many_words(vae, distance):
    found = vae.paraphrase(TEXTS, min_distance=distance, **FEW, **labelled(vae))
    apart = [word_distance(bare_words(a), bare_words(b)) for a, some in zip(TEXTS, found, strict=True) for b in some]
    assert apart and min(apart) >= distance


@pytest.mark.parametrize(("normalization", "kept"), [("none", ["C1CCCCC1", "c1ccccc1."]), ("nfc", [])])
def test_with_no_normalization_every_character_makes_another_text(normalization, kept):
    """Benzene is c1ccccc1, and C1CCCCC1 is cyclohexane."""
    tokenizer = train_tokenizer(["c1ccccc1", "C1CCCCC1."], 300, normalization=normalization)
    candidates = Candidates(["c1ccccc1"], 1, every_character_counts(tokenizer))
    candidates.add(["c1ccccc1", "C1CCCCC1", "C1CCCCC1", "c1ccccc1."])
    assert candidates.texts == kept


def test_scores_fall_and_belong_to_the_texts(vae):
    scored = vae.paraphrase(TEXTS, return_scores=True, **FEW, **labelled(vae))
    texts = vae.paraphrase(TEXTS, **FEW, **labelled(vae))
    assert [[text for text, _ in some] for some in scored] == texts and any(texts)
    for some in scored:
        scores = [score for _, score in some]
        assert scores == sorted(scores, reverse=True) and all(map(math.isfinite, scores))


def test_a_score_is_the_likelihood_given_the_text_less_the_distance_from_it(vae):
    label, ids = ({"label": LABELS[1]}, [1]) if vae.model.config.label_names else ({}, None)
    codec = Codec(vae.model, vae.tokenizers)
    source = codec.tokenize(TEXTS[:1], ids).batch([0])
    for text, score in vae.paraphrase(TEXTS[0], return_scores=True, **FEW, **label):
        other = codec.tokenize([text], ids).batch([0])
        with torch.no_grad():
            posterior, own = (
                vae.model.encode(one["input_ids"], one["attention_mask"], one.get("label_ids"))
                for one in (source, other)
            )
            nll = vae.model.reconstruction(posterior.mean, other["labels"], label_ids=other.get("label_ids"))
        closeness = posterior.log_prob(own.mean).sum() - posterior.log_prob(posterior.mean).sum()
        assert score == pytest.approx(float(0.25 * closeness - nll), rel=1e-3)


@pytest.mark.slow
def test_many_texts_are_paraphrased_as_one_batch_or_several(vae):
    runs = [vae.paraphrase(TEXTS, return_scores=True, batch_size=n, **FEW, **labelled(vae)) for n in (1, 3, 64)]
    for other in runs[1:]:
        assert [[text for text, _ in some] for some in other] == [[text for text, _ in some] for some in runs[0]]
        for some, own in zip(other, runs[0], strict=True):
            scores = [[score for _, score in one] for one in (some, own)]
            assert scores[0] == pytest.approx(scores[1], rel=1e-3, abs=1e-4)


def test_a_function_ranks_in_place_of_the_model(vae):
    asked = []

    def longest(texts, candidates):
        asked.append((texts, candidates))
        return [[len(text) for text in some] for some in candidates]

    scored = vae.paraphrase(TEXTS, reranker=longest, return_scores=True, **FEW, **labelled(vae))
    ((texts, candidates),) = asked
    assert texts == TEXTS
    for some, own in zip(candidates, scored, strict=True):
        assert [text for text, _ in own] == sorted(some, key=len, reverse=True)[:3]
        assert all(score == len(text) for text, score in own)


def test_a_sentence_encoder_ranks_by_cosine(tmp_path):
    vae, name = pipeline(), save_encoder(tmp_path / "encoder")
    found = vae.paraphrase(TEXTS[0], reranker=name, return_scores=True, **FEW)
    scores = [score for _, score in found]
    assert scores == sorted(scores, reverse=True) and all(-1.001 <= score <= 1.001 for score in scores) and scores


def test_diverse_paraphrases_share_fewer_words(vae):
    plain = vae.paraphrase(TEXTS, return_scores=True, **FEW, **labelled(vae))
    assert vae.paraphrase(TEXTS, return_scores=True, diversity=0, **FEW, **labelled(vae)) == plain
    mixed = vae.paraphrase(TEXTS, return_scores=True, diversity=1, **FEW, **labelled(vae))
    assert [own[:1] for own in mixed] == [own[:1] for own in plain]  # the first is the best
    assert [len(own) for own in mixed] == [len(own) for own in plain]
    assert sum(map(overlap, mixed)) <= sum(map(overlap, plain))


def overlap(scored) -> float:
    words = [bare_words(text) for text, _ in scored]
    return sum(shared_words(one, other) for one, other in itertools.combinations(words, 2))


def test_maximal_marginal_relevance_by_hand():
    """Relevance 1, 2/3, 1/3 and 0; the second shares 3 of 4 words with the first, the third none, the last 1 of 5."""
    texts, scores = ["a b c", "a b c d", "x y", "a z q"], torch.tensor([-1.0, -2.0, -3.0, -100.0])
    assert diverse(texts, scores, 4, 0.0) == [0, 1, 2, 3]
    assert diverse(texts, scores, 2, 0.3) == [0, 1]  # .7 · .667 − .3 · .75 = .242 against .7 · .333 = .233
    assert diverse(texts, scores, 2, 0.5) == [0, 2]
    assert diverse(texts, scores, 9, 1.0) == [0, 2, 3, 1]
    assert diverse([], torch.zeros(0), 3, 0.5) == []
    assert diverse(["a", "b"], torch.tensor([-torch.inf, 0.0]), 3, 0.5) == [1, 0]


def test_a_reranker_is_not_asked_about_nothing():
    def never(texts, candidates):
        raise AssertionError("there is nothing to rank")

    assert pipeline().paraphrase([], reranker=never) == []
    assert pipeline().paraphrase(TEXTS[:2], reranker=never, min_distance=99, **FEW) == [[], []]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"reranker": 3}, "must be a function"),
        ({"reranker": "nowhere"}, "nowhere"),
        ({"reranker": lambda texts, some: [1.0]}, "one number for each"),
        ({"reranker": lambda texts, some: [[math.nan] * len(own) for own in some]}, "NaN"),
        ({"reranker": lambda texts, some: [["good"] * len(own) for own in some]}, "list of numbers"),
        ({"reranker": lambda texts, some: None}, "list of numbers"),
        ({"min_distance": 0}, "min_distance is 0"),
        ({"min_distance": 1.5}, "min_distance is 1.5"),
        ({"return_scores": "yes"}, "return_scores"),
        ({"diversity": 1.5}, "diversity is 1.5"),
    ],
)
def test_what_cannot_rank_is_refused(given, told):
    with pytest.raises(InputError, match=told):
        build().paraphrase(TEXTS, **FEW, **given)
