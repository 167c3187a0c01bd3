import json
from itertools import islice

import pytest
from tiny_runs import config

from textvae.data.corpora import load_corpus
from textvae.data.tokenization import train_word_tokenizer
from textvae.data.tokenize import tokenize_corpus
from textvae.data.tokenizer_pair import TokenizerPair
from textvae.data.training_batches import BatchPlan, StreamedBatches
from textvae.errors import InputError
from textvae.training.batches import read_batches


@pytest.mark.parametrize("workers", [0, 1])
def test_a_bad_line_of_a_stream_is_one_sentence_in_every_process(tmp_path, workers):
    file = tmp_path / "a.jsonl"
    file.write_text((json.dumps({"text": "a b"}) + "\n") * 3_000 + '{"text": 7}\n{"text": {}}\n')
    tokenizers = TokenizerPair(train_word_tokenizer(["a b"]))
    stream = tokenize_corpus(load_corpus(file, streaming=True)["train"], tokenizers, 8)
    run = config(file, tmp_path / "run", streaming=True, tokenizer="some/where", dataloader_num_workers=workers)
    items = read_batches(run, StreamedBatches(stream, tokenizers, BatchPlan(16, 3)), 0)
    assert len(list(islice(items, 100))) == 100
    with pytest.raises(InputError) as caught:
        list(items)
    wanted = f"{file}, line 3002: the column 'text' holds a dict and no text: name another --text_column."
    assert str(caught.value) == wanted
