"""Text in, text out: `TextVAEPipeline` and the functions behind its verbs.

A new verb that reads or writes texts goes here, as a function of a `Codec`.

- `encode(texts)` → z (N, Z), the posterior means; with `sample=True` one draw of each posterior, with
  `return_std=True` its standard deviations, too.
- `decode(latents)` → the text of one z, or of each of many; with `return_scores=True` (text, log p(x|z)).
- `reconstruct(texts)`: each text, written back from its posterior mean.
- `interpolate(start, end, num_steps)`: the texts on the way from one to the other, both ends included.
- `paraphrase(texts, num_return_sequences)`: other texts near each text, the best first; with `diversity=0.3` they share
  fewer words with each other.
- `denoise(texts)`: each noisy text, written clean by a model that was trained with noise.
- `infill("the ___ sat on the ___", num_return_sequences)`: the text with its gaps filled, the best first. What is given
  stays, character by character; a gap is one word or several.
- `fit_direction(name, positive, negative)`: the direction of z from negative to positive texts, kept with the model.
- `edit(texts, name, strength)`: each text, moved along that direction.
- `analogy(a, b, c)`: a is to b as c is to this text.
- `traverse(texts, dimension)`: each text, with one dimension of its z moved in steps; or with `axes="principal"` one of
  the axes along which z of texts vary most.
- `sample(num_samples)`: texts from the Gaussian that training has fitted; `prior="standard"` is N(0, I), and "mixture"
  and "flow" are what `fit_prior` has fitted.
- `fit_prior(texts, name)`: fit the prior of this name; it is kept with the model. The Gaussian is the default: under
  the two others z of new texts is likelier, but their samples are no better (`recipes/README.md`).
- `score(texts)`: an upper bound on −log p(x) in nats. A lower score is a more usual text; longer texts score higher.
  With `return_terms=True` a `TextTerms` of each text: −ELBO, reconstruction from a draw and from the mean, KL, bound,
  number of tokens; with `return_tokens=True` also each token and its nats. A list of them is a table for pandas.
- `fit_detector(normal_texts, held_out)`, then `detect(texts)`: the odd ones out, see below.
- `index(corpus)`, then `neighbours(texts, index)`: the texts of a corpus that are nearest to each text, see below.
- `map(texts)`: texts in two dimensions, see below.
- `evaluate(texts)`: the whole report, see `textvae.evaluation`.

Verbs that read texts take one text, or a list, tuple, numpy array, pandas Series or column of a dataset; of a table
give the column, such as `df["text"]`. `decode` takes a tensor, an array, or a list of them. All verbs work in batches
(`batch_size=`), are reproducible with `seed=`, and run on the GPU if there is one; `from_pretrained(path,
device="cpu")` and `vae.to("cpu")` choose another device. `print(vae)` says what it is.

`encode`, `decode`, `reconstruct`, `paraphrase`, `infill`, `denoise`, `edit`, `traverse`, `score`, `detect` and
`neighbours` also take an iterator, such as a generator, and give an iterator of the results that a list has. Texts are
read as they are needed, a batch and then 16 at a time, so memory stays flat; the labels may be an iterator, too. A list
is worked on in the same chunks, but for `infill`, which checks all texts first.

    for text, z in zip(texts, vae.encode(iter(texts))): ...
    list(vae.decode(vae.encode(line.strip() for line in open("mine.txt"))))

Threads may share a pipeline, as in a web server: a seed gives the same texts among threads as alone. Calls that draw
words (`do_sample=True`) take turns, since torch has one random state for all threads.

Decoding controls are those of Hugging Face's `generate`, by their names: `num_beams`, `do_sample`, `top_p`,
`repetition_penalty`, `num_return_sequences`, `stop_strings`, `max_new_tokens`. `max_length` and `min_length` count BOS,
as there. A `generation_config` may hold several; arguments win over it, and without a limit of its own a text has at
most the `max_length` of the pipeline. What changes the result (`output_scores`), needs an assistant model, or runs code
of others is refused. The `temperature` of `sample` and `paraphrase` is that of z. The temperature of words goes into a
`generation_config`.

Arguments are checked first, and one that cannot be used raises `InputError`, one sentence.

`num_candidates=8` writes eight texts for each z and keeps the one whose own z is nearest. By default `sample`,
`paraphrase` and `denoise` use 4 beams, and the others decode greedily.

A direction is the difference of the mean z of two classes, or the normal of a logistic regression between them; both
without what goes with the length of a text. A strength of 1 is the distance between the classes, 0 changes nothing, and
below 0 a text is moved to the negative class. `save_pretrained` keeps the directions by name. They hold for this model:
another one, or this one trained further, refuses them.

    vae.fit_direction("sentiment", praise, complaints, method="logistic")
    vae.fit_direction("positive", table)  # with the columns text and label, of which one label is "positive"
    vae.edit("the food was awful .", "sentiment", strength=2, num_candidates=8)

`denoise` writes the y with the most log p(y|z) − closeness · cost(x|y), where z is the posterior mean of the noisy text
x, and the cost is that of believing that noise made x of y: words lost, replaced, swapped or mistyped, in
[`textvae.data.edit_costs.Costs`]. A higher closeness changes less; at 0 a text is written from its z alone. The word
`___` is one that is missing. A model learns it by `noise_typos`, `noise_drop`, `noise_mask`, `noise_substitute` and
`noise_shuffle` of `train`.

    vae.denoise(["I loove listening to musci.", "Where do ___ come from?"], closeness=2)

z is a plain tensor, for a search index, a numpy array, or a classifier, here of scikit-learn:

    classifier = LogisticRegression().fit(vae.encode(texts).numpy(), classes)

With a model that has labels, every verb needs `label=`: one name for all texts, or a list with one for each.
`evaluate` also takes a dataset with a column `label`; commands have `--label` or `--label_column`.

    vae.sample(5, label="positive")
    vae.decode(vae.encode(texts, label="negative"), label="positive")  # style transfer
    vae.score(texts, label=["positive", "negative"])  # of −log p(x|c), one label for each text

The odd one out. `detect` gives a `Detection` of each text: a score, its p-value, and the least expected tokens. The
p-value is (1 + the number of held-out normal texts that score at least as high) / (1 + their number): among normal
texts, one in a hundred is at most 0.01. So hold out texts that neither training nor `normal_texts` has seen. Scores, of
`fit_detector(score=)`, one name or several:

- `reconstruction` (from the posterior mean), `negative_elbo`, `bound`, `kl`: in nats; each also `…_per_token`.
- `round_trip`: the distance of z from the z of the text that is written from it.
- `mahalanobis_latents`, `mahalanobis_states`: of z, and of the mean of the encoder's states.
- `neighbours_latents`, `neighbours_states`: the distance from the 5 nearest normal texts.
- `local_neighbours_latents`, `local_neighbours_states`: the distance from the nearest 20, less half of theirs from
  their own. The best for the states of a pretrained sentence encoder, and worse for those of a small one.

Likelihood finds texts whose words or order are strange, as spam, noise or another language; the states of a pretrained
encoder find texts that are about something else. The default is one of each, combined by their p-values. The table is
in `recipes/README.md`.

Search. `index(corpus)` encodes a corpus part by part; `save` of the index writes it to a directory with its texts, and
it is of this model alone. `neighbours` finds the texts whose z have the greatest cosine with that of a text, exactly,
by FAISS (`pip install 'textvae[search]'`); each is a `Neighbour` (text, similarity, row).

    vae.index(texts).save("index")
    vae.neighbours("I love music.", "index", num_neighbours=3)

Maps. `map(texts)` gives a `TextMap` with the `points` (N, 2) and a `projection`, in which new texts have their places
too: PCA, the plane in which z varies most, or with `method="umap"` a layout that keeps neighbours together (`pip
install 'textvae[map]'`). `save` writes a page of HTML that shows a text where one points, or a Parquet table.

    first = vae.map(texts, method="umap", classes=intents)
    first.save("map.html")
    vae.map(new_texts, first.projection).save("map.parquet")  # embedding-atlas map.parquet --text text --x x --y y

Saving and the Hub. `save_pretrained(path)` and `push_to_hub("me/mine")` write what `from_pretrained` opens; the second
uploads the model card and the metrics too. `merge_and_save(path)` writes one directory that needs neither the base
model nor peft. A model that was in the directory is replaced when the new one is written: on a full disk it is what it
was, and no old weights stay.

From the command line:

    textvae interpolate runs/chitchat "I love music." "Where do you come from?"
    textvae paraphrase runs/chitchat "I love listening to music at night."
    cat mine.txt | textvae score runs/chitchat | sort -g | tail

Each verb is a sub-command, see `textvae.cli`.
"""

from textvae.pipeline.codec import Codec
from textvae.pipeline.detect import Detection
from textvae.pipeline.detector import Detector
from textvae.pipeline.hub import CARD_FILE, METRICS_FILE
from textvae.pipeline.pipeline import TextVAEPipeline
from textvae.pipeline.reading import SCORES, Reading
from textvae.pipeline.score import TextTerms
from textvae.pipeline.text_index import Neighbour, TextIndex
from textvae.pipeline.text_map import TextMap

__all__ = [
    "CARD_FILE",
    "METRICS_FILE",
    "SCORES",
    "Codec",
    "Detection",
    "Detector",
    "Neighbour",
    "Reading",
    "TextIndex",
    "TextMap",
    "TextTerms",
    "TextVAEPipeline",
]
