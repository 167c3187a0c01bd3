"""Measures of paraphrases: by hand on small cases, and the baselines are what their names say."""

import pytest
import torch
from tiny_runs import SENTENCES, save_decoder, save_encoder

from textvae.errors import InputError
from textvae.evaluation.judges import Judges, open_judges
from textvae.evaluation.metrics import corpus_bleu
from textvae.evaluation.paraphrases import COPY, HUMAN, RANDOM, ParaphraseMeasures, lower_bleu, paraphrase_table

NONE = Judges(None, None)
SOURCES = ["The old dog sleeps on the sofa .", "Two men play chess in the park .", "A girl rides her red bike home ."]
REFERENCES = [
    ["A dog sleeps on a sofa all day .", "Men play a game of chess outside .", "The girl rides a bike to her home ."],
    ["On the sofa sleeps an old dog .", "In the park two men play chess .", "A child is riding home on her bike ."],
]


def test_bleu_takes_all_references_and_no_case():
    shouted = [text.upper() for text in REFERENCES[1]]
    assert lower_bleu(shouted, REFERENCES) == pytest.approx(100)
    assert lower_bleu(SOURCES, REFERENCES[:1]) < lower_bleu(SOURCES, REFERENCES)
    lower = [text.lower() for text in SOURCES]
    assert lower_bleu(lower, [[*map(str.lower, REFERENCES[0])]]) == corpus_bleu(lower, [*map(str.lower, REFERENCES[0])])


def test_ibleu_pays_for_references_and_charges_for_copies():
    measures = ParaphraseMeasures(SOURCES, REFERENCES, NONE)
    rows = measures.baselines()
    bleu = lower_bleu(SOURCES, REFERENCES)
    assert rows[COPY] == {"ibleu": pytest.approx(0.8 * bleu - 20), "bleu": bleu, "self_bleu": pytest.approx(100)}
    perfect = measures.of(REFERENCES[0])
    assert perfect["bleu"] == pytest.approx(100) and perfect["ibleu"] > 60 > rows[COPY]["ibleu"]


def test_a_reference_is_not_compared_with_itself():
    rows = ParaphraseMeasures(SOURCES, REFERENCES, NONE).baselines()
    each = [lower_bleu(REFERENCES[k], [REFERENCES[1 - k]]) for k in range(2)]
    assert rows[HUMAN]["bleu"] == pytest.approx(sum(each) / 2)
    assert HUMAN not in ParaphraseMeasures(SOURCES, REFERENCES[:1], NONE).baselines()


@pytest.mark.parametrize("seed", range(5))
def test_no_text_is_its_own_random_paraphrase(seed):
    measures = ParaphraseMeasures(SOURCES, [SOURCES], NONE)
    rows = measures.baselines(seed)
    assert rows[RANDOM]["bleu"] < 50 and rows[RANDOM] == measures.baselines(seed)[RANDOM]


def test_judges_measure_meaning_and_fluency(tmp_path):
    judges = open_judges(save_decoder(tmp_path / "decoder"), save_encoder(tmp_path / "encoder"), torch.device("cpu"))
    measures = ParaphraseMeasures(SENTENCES[:4], [SENTENCES[4:8]], judges)
    rows = measures.baselines()
    assert rows[COPY]["similarity"] == pytest.approx(1, abs=1e-5) and rows[RANDOM]["similarity"] < 1 - 1e-4
    assert rows[COPY]["fluency"] == pytest.approx(rows[RANDOM]["fluency"], rel=1e-4)  # the same texts
    table = paraphrase_table(rows).split("\n")
    assert len(table) == 2 + 2 and table[0].count("|") == 7 and "similarity" in table[0]
    assert "similarity" not in paraphrase_table(ParaphraseMeasures(SOURCES, REFERENCES, NONE).baselines())


def test_unequal_numbers_are_refused():
    for sources, references in [(SOURCES, []), (SOURCES, [SOURCES[:2]]), (SOURCES[:1], [SOURCES[:1]])]:
        with pytest.raises(InputError, match="at least 2 texts"):
            ParaphraseMeasures(sources, references, NONE)
    with pytest.raises(InputError, match="2 paraphrases of 3 texts"):
        ParaphraseMeasures(SOURCES, REFERENCES, NONE).of(SOURCES[:2])
