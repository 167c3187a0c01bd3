"""Texts on their way in: corpora, tokenizers, labels, noise and batches.

A new file format goes into `readers`. Here "targets" are the tokens that a decoder must write, and "labels" are
classes of texts.

Corpora. `--train_file` reads files; `--dataset_name` reads a dataset of the Hub or a directory; `train(config, texts)`
takes what was made in Python, see below. Without any of them it is the embedded corpus, see `load_chitchat`.
`--text_column` names the column. Without a validation file or split, `--validation_split` (2 %, 2 to 5,000 texts) is
held out; a line says so if these are fewer than 100, as results on them are rough. Blank texts and gaps are dropped and
counted. Texts are cut to `--max_length` tokens (64, or the length of the saved model).

    accelerate launch recipes/train.py --train_file 'wiki/**/*.jsonl.zst' more.txt --output_dir runs/wiki
    accelerate launch recipes/train.py --dataset_name NAME --text_column text --output_dir runs/named

Files. `--train_file`, `--validation_file` and each `--file` take one or several names of files, patterns (in quotes:
`**` is any depth) and directories, which are searched at any depth; `~` is the home directory. Formats, by ending:

    txt            a text a line
    csv, tsv       a header line, then rows; another delimiter is found where the header shows it, and a line says so
    jsonl, json    an object a line, or a list of objects; lines or a list of strings will do, too
    parquet, arrow, and directories that `save_to_disk` of `datasets` has written

Files of the first three kinds are in UTF-8, or in UTF-16 or UTF-32 with a byte-order mark, as Excel saves them. They
may be compressed: `.gz`, `.bz2`, `.xz`, `.zst`. If a single directory is named, a file whose name or folder says
validation (valid, val, dev) or test (eval) is of that split; `--dataset_name` reads a directory in the same way.

Only the columns that are asked for are read, as they are written: `007`, `NA`, `01` and dates stay what they are.
Numbers become texts, and a line says so; lists and objects are refused. In a csv, a text with the delimiter, a quote or
a line break stands in quotes; a row of a hundred lines is reported, as it may lack a quote. In a tsv, quotes are parts
of the texts, unless its first 1,000 lines are what a writer of quoted tables writes. Errors name the file and the line.
What was read is cached by the content of the files.

In Python, `train(config, texts)` takes a list of texts, the path of a file, a table (a DataFrame of pandas or polars, a
table of pyarrow, a dictionary of columns), a `Dataset` of any format, or a stream (`IterableDataset`, which then sets
`streaming`). A dictionary of splits, such as a `DatasetDict`, needs `train`; `validation`, or else `valid`, `val` or
`dev`, is held out, and another split such as `test` is not used. Numbers, dates and truth values of a column become
texts, and a line says so; a column of lists, dictionaries or bytes is refused.

Duplicates. A held-out text that training has, too, makes all results too good. Such texts are counted at the start and
in `metrics.json` (`num_held_out_in_training`). `--drop_duplicates` keeps only the first of equal training texts, before
any are held out, and drops the texts of a validation file or split that training has. With targets or labels, rows are
equal if all their columns are. Only exact duplicates count. A stream is not searched for them.

Tokenizers. By default SentencePiece (Unigram, byte fallback) is trained on the corpus, so any script works and no token
is unknown. `--normalization` says what it changes in a text: `nfc` joins letters with their accents and keeps every
space; `nfkc` also replaces characters by plain forms ("x²" by "x2", full-width commas by half-width ones, the Thai "ำ"
by two characters) and leaves single spaces; with `none`, every text comes back as it is. Special tokens that are
spelled out in a text, such as `<|endoftext|>`, are text under any tokenizer. `--tokenizer word` takes
whitespace-separated words, and the name of a saved tokenizer takes that one. A pretrained part brings its own. If it
has no EOS or padding token, it is given one, and a line says so. A saved model's tokenizer can learn another corpus:
`--extend_tokenizer N` adds up to N pieces (or words), those that save the most tokens. They come after the old ones,
whose ids stay. A text without new pieces is read as before. The embedding of a new piece starts as the mean of those of
its parts, that of a new word as the mean of all. Only tokenizers that textvae trained can grow. A line of the run says
how a given tokenizer covers the corpus: tokens per word, and the share of tokens that are unknown or single bytes;
`metrics.json` keeps it.

Molecules. `load_moses` of `moses` gives the SMILES of a benchmark of drug-like molecules, from a package that is only
read; `recipes/moses.py` writes them as texts. Train on SMILES with `--normalization none`, which also tells
`paraphrase` that "c" and "C" are not the same.

Pairs. One column is encoded and another is decoded: paraphrases, or two styles. Any format but txt has two columns.
Rows with a gap are dropped and counted. Bounds, perplexities, BLEU and exact match are then those of the target, given
the z of the text, and `reconstruct` writes what the target should be.

    accelerate launch recipes/train.py --train_file pairs.csv --text_column formal --target_column casual \\
        --output_dir runs/casual
    accelerate launch recipes/evaluate.py runs/casual --file test.csv --text_column formal --target_column casual

Labels. A column of names or integers (sentiment, genre, author) makes a conditional VAE (Sohn et al. 2015; kgCVAE,
Zhao et al. 2017). A learned vector of the label is added to the pooled encoder state and to the decoder's input
embeddings, and the prior is a learned p(z|c). Rows with a gap are dropped and counted. `--latent_injection none` makes
a conditional language model, and with `--freeze_decoder` only the vectors of the labels are trained. Labels cannot be
combined with `streaming`, nor with `committed_rate`, `mean_batch_norm` and `mmd_weight`, which need the prior N(0, I).

    accelerate launch recipes/train.py --train_file reviews.csv --label_column sentiment --output_dir runs/reviews
    accelerate launch recipes/evaluate.py runs/reviews --file test.csv --label_column sentiment

Streaming. `--streaming true --max_steps 100000` (or `--max_minutes 60`) reads a corpus larger than memory during
training. The first row of each file is checked at the start; a bad line further on ends the run when it is reached, and
is named.

Noise. `noise_drop`, `noise_mask`, `noise_substitute`, `noise_shuffle` corrupt what the encoder reads, `word_dropout`
masks input words of the decoder; targets stay clean. `noise_typos` makes typing errors in the text itself, and each
batch is tokenized anew; the other four change tokens.
"""

from textvae.data.chitchat import load_chitchat
from textvae.data.corpora import Texts, check_strings, iterate_texts, load_corpus, load_texts
from textvae.data.extend_tokenizer import extend_tokenizer
from textvae.data.noise import InputNoise
from textvae.data.special_tokens import IGNORED
from textvae.data.tokenization import load_tokenizer, train_word_tokenizer
from textvae.data.tokenize import tokenize_corpus
from textvae.data.tokenizer_pair import load_tokenizers
from textvae.data.training_batches import LengthGroupedBatches, StreamedBatches
from textvae.data.unigram import train_tokenizer
from textvae.data.words import word_count

__all__ = [
    "IGNORED",
    "InputNoise",
    "LengthGroupedBatches",
    "StreamedBatches",
    "Texts",
    "check_strings",
    "extend_tokenizer",
    "iterate_texts",
    "load_chitchat",
    "load_corpus",
    "load_texts",
    "load_tokenizer",
    "load_tokenizers",
    "tokenize_corpus",
    "train_tokenizer",
    "train_word_tokenizer",
    "word_count",
]
