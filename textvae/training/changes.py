"""Which settings may change when a run is resumed.

Every setting of [`TrainingConfig`] stands in one of these sets.
"""

from textvae.errors import InputError

# No weight depends on them.
FREE = {
    *("output_dir", "overwrite_output_dir", "resume_from_checkpoint", "per_device_eval_batch_size"),
    *("logging_steps", "monitor_steps", "save_steps", "save_total_limit", "report_to", "dataloader_num_workers"),
    *("num_importance_samples", "num_importance_texts", "num_reconstructed_texts", "num_prior_samples"),
    *("judge", "judge_encoder"),
    *("model_card_samples", "card_examples", "language", "license"),
}
# Compared in another form: the tokens of the corpus, the architecture, the global batch, the chosen precision.
CORPUS = {
    *("train_file", "validation_file", "dataset_name", "dataset_config_name"),
    *("text_column", "target_column", "label_column"),
    *("validation_split", "drop_duplicates", "max_train_samples", "max_validation_samples", "max_length"),
}
ELSEWHERE = {
    *("encoder", "decoder", "latent_size", "latent_injection", "latent_tokens", "pooling", "pooling_queries"),
    *("initializer_range", "committed_rate", "mean_batch_norm", "tie_encoder_embeddings", "position_waves"),
    "kl_controller",
    *("per_device_train_batch_size", "gradient_accumulation_steps", "mixed_precision"),
}
# From here on the run goes on with the new value, which is not what an uninterrupted run would do.
SAID = {
    *("model_name_or_path", "encoder_name_or_path", "decoder_name_or_path", "extend_tokenizer"),
    *("beta", "kl_schedule", "kl_warmup", "kl_zero_phase", "kl_num_cycles", "kl_ramp", "kl_start", "free_bits"),
    *("free_bits_mode", "kl_target", "kl_controller_gain", "kl_reset_decoder", "bag_of_words_weight", "mmd_weight"),
    *("teacher", "teacher_weight"),
    *("word_dropout", "noise_drop", "noise_mask", "noise_substitute", "noise_shuffle", "noise_typos"),
    *("bottleneck_phase", "num_train_epochs", "max_steps", "max_minutes"),
    *("learning_rate", "encoder_learning_rate", "decoder_learning_rate"),
    *("lr_scheduler_type", "warmup_ratio", "max_grad_norm", "ema_decay", "swa_start"),
    *("gradient_checkpointing", "attn_implementation", "torch_compile", "eval_steps", "early_stopping_patience"),
}
# A checkpoint keeps their old value, or the batches would be others.
FIXED = {
    *("streaming", "tokenizer", "encoder_tokenizer", "vocab_size", "normalization", "seed"),
    *("freeze_encoder", "freeze_decoder", "lora", "lora_rank", "lora_alpha", "lora_dropout"),
    *("weights_dtype", "decoder_quantization", "aggressive_encoder"),
    *("optimizer", "weight_decay", "adam_beta1", "adam_beta2", "weight_averaging"),
}


def changed(was: dict, now: dict, streaming: bool) -> list[str]:
    """The settings that have changed and may, as `name value (value before)`, to be said.

    Args:
        was: the settings of the run that is resumed; a setting that it does not have has not changed.
        streaming: whether the corpus is a stream, whose tokens cannot be compared.

    Raises:
        InputError: if one has changed that must not.
    """
    different = [name for name in was if name in now and was[name] != now[name]]
    fixed = [name for name in different if name in FIXED]
    if fixed:
        raise InputError(
            f"The checkpoint was trained with {_listed(fixed, was)}, and this run has {_listed(fixed, now)}: resume "
            "with the settings it was trained with, or start anew in another --output_dir."
        )
    said = SAID | CORPUS if streaming else SAID
    return [f"{name} {now[name]} (before {was[name]})" for name in different if name in said]


def _listed(names: list[str], values: dict) -> str:
    return " and ".join(f"{name} {values[name]}" for name in names[:3])
