"""Two pretrained models become one text VAE, each with its own tokenizer where these differ."""

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from textvae.errors import InputError
from textvae.modeling import TextVAEModel
from textvae.parts import add_token, load_decoder, load_encoder


def special_ids(tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
    """What a model must know of the decoder's tokenizer; texts start with EOS where there is no BOS."""
    return {
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }


def join_parts(
    encoder: str,
    decoder: str,
    tokenizer: PreTrainedTokenizerBase,
    encoder_tokenizer: PreTrainedTokenizerBase | None = None,
    encoder_dtype: torch.dtype = torch.float32,
    decoder_dtype: torch.dtype = torch.float32,
    quantization: str = "none",
    **bottleneck,
) -> TextVAEModel:
    """A pretrained encoder and decoder, by name or path, joined by a new bottleneck in fp32.

    A part that is trained should be in fp32, too, whatever it was saved in: small steps would be lost to rounding.
    A part that has no embedding for the EOS its tokenizer was given gets one, the mean of the others.

    Args:
        tokenizer: the decoder's, and the encoder's too unless `encoder_tokenizer` is given.
        quantization: of the decoder, as [`load_decoder`] takes it.
        bottleneck: of [`TextVAEConfig`].

    Raises:
        InputError: if a part cannot be opened, or its tokenizer has more tokens than it has embeddings.
    """
    parts = load_encoder(encoder, encoder_dtype), load_decoder(decoder, decoder_dtype, quantization)
    model = TextVAEModel.from_parts(*parts, **bottleneck, **special_ids(tokenizer))
    _fit(model.decoder, tokenizer, decoder)
    if model.encoder is not None:
        _fit(model.encoder, encoder_tokenizer or tokenizer, encoder)
        model.config.encoder.vocab_size = model.encoder.config.vocab_size
    model.config.decoder.vocab_size = model.decoder.config.vocab_size
    _fit_bag_of_words(model)
    return model


def _fit(part: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    """Make room for an EOS that the tokenizer was given; whatever else is missing is an error."""
    rows, needed = part.get_input_embeddings().num_embeddings, max(tokenizer.get_vocab().values()) + 1
    if needed == rows + 1 and tokenizer.eos_token_id == rows:
        add_token(part)
    elif needed > rows:
        raise InputError(f"The tokenizer has {needed} tokens and {name!r} {rows} embeddings: give the tokenizer it "
                         "was trained with.")  # fmt: skip


def _fit_bag_of_words(model: TextVAEModel) -> None:
    """The head, which is new anyway, predicts every token of the decoder."""
    if model.to_bag_of_words is not None:
        last, vocab_size = model.to_bag_of_words[-1], model.config.decoder.vocab_size
        if last.out_features < vocab_size:
            model.to_bag_of_words[-1] = nn.Linear(last.in_features, vocab_size)
