"""A run from settings to a saved pipeline, on one process or many: `setup` makes what it needs, `train` is the loop.

Length. Unless `--num_train_epochs` or `--max_steps` is given, a run reads the corpus 0.5 times, and takes at least
1,500 steps, so a small corpus is read more often. A validation runs after each epoch, or every `--eval_steps`; a line
gives its result. The model with the lowest −ELBO is kept.

Minutes. `--max_minutes 10` stands in place of both: training takes about ten minutes on any machine, validations
included. The tokenizer before it and the report after it are not counted. The number of steps is planned from the
speed of the first ones, which is measured for 5 to 10 % of the time, and for at most a minute. Until then the schedules
follow an estimate, made anew after 4, 8, 16 … steps, and the bar shows no total. The plan is made once and is part of
the checkpoints; a resumed run keeps it, unless `max_minutes` is another. If the machine becomes slower later, training
takes longer.

Fine-tuning. `--model_name_or_path runs/chitchat` trains a saved model on another corpus. The model keeps its
architecture, and its `max_length` unless another is given. Dropout can be changed. A setting for another `latent_size`
or decoder is refused.

Train only a part. What lies between encoder and decoder, the bottleneck, is always trained, and so are the vectors of
labels. For the pretrained parts, or those of a saved model:

- `freeze_encoder`, `freeze_decoder`: the part is frozen. It has no optimizer state and no dropout, and a frozen
  encoder no backward pass.
- `lora` encoder, decoder, with `lora_rank`, `lora_alpha`, `lora_dropout`: low-rank adapters of its linear layers
  (needs `textvae[lora]`).
- `bottleneck_phase` 0.1: only the bottleneck is trained in the first tenth of the steps.
- `encoder_learning_rate`, `decoder_learning_rate`: a learning rate for each part.
- `weights_dtype` bfloat16, and `decoder_quantization` 8bit or 4bit (needs `textvae[quantization]`): frozen weights
  take less memory. This also works on a CPU; a line says so if bf16 is slow there.

    accelerate launch recipes/train.py --encoder_name_or_path ENCODER --decoder_name_or_path DECODER --freeze_encoder \\
        --lora decoder --weights_dtype bfloat16 --gradient_checkpointing --learning_rate 1e-4 --train_file mine.txt \\
        --output_dir runs/adapted
    python recipes/merge.py runs/adapted runs/merged

Such a run saves only what it trained. `merge.py` writes a directory that needs neither base model nor peft. New
embeddings cannot be trained in a frozen or adapted part: `extend_tokenizer`, and a decoder without EOS, are refused.

Optimizer. `muon` (default) moves the matrices between hidden states along the orthogonal factor of their momentum, and
all other weights as `adamw` does. Its updates are as large as AdamW's, so `learning_rate` means the same for both.

Prior. At the end a Gaussian is fitted to the z of up to 10,000 training texts, and saved with the model as
`prior.safetensors`; `sample` draws from it, and the report has the bounds with it.

Overfitting costs likelihood on a small corpus. Against it: `dropout`, `variational_dropout` and `weight_dropout` of
the GRU, and `weight_averaging` ema or swa.

Collapse. Every `monitor_steps` (100), active units, mutual information, the KL of each dimension and the worth of z
are measured on the latest training texts and sent to the trackers (`--report_to tensorboard`).

History. All that trackers are sent also goes to `history.jsonl`, a line for each time; `textvae report` draws it.

Resume. `--config RUN/training_config.yaml --resume_from_checkpoint latest` goes on with all settings of the run. It
then equals an uninterrupted run, on a CPU bit for bit; Ctrl-C prints this command. A corpus with other tokens, another
batch size, seed or architecture is refused. The learning rate, the length, β and what else may change is said in one
line; `changes` has the table. A checkpoint that holds more than numbers is refused, so that no code in it is run.

Output. A directory belongs to one run at a time. The model is saved before its report is made.

Several GPUs or machines. `accelerate config` asks how many there are, or give the flags. Several processes equal one
with the same global batch (`per_device_train_batch_size` × processes). Without a GPU and without MPI,
`accelerate launch --cpu` starts one process only; torchrun starts several.

    accelerate launch --num_machines 2 --num_processes 8 --machine_rank 0 --main_process_ip 10.0.0.1 \\
        --main_process_port 29500 recipes/train.py
    torchrun --nproc_per_node 2 recipes/train.py

Precision. `mixed_precision: auto` takes bf16 where it is faster; on a CPU this is measured.
"""

from textvae.training.config import CONFIG_FILE, TrainingConfig
from textvae.training.train import train

__all__ = ["CONFIG_FILE", "TrainingConfig", "train"]
