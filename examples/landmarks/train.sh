#!/usr/bin/env bash
# Landmarks on 1024 px crops, both cards of the workstation.
# vramlint: gpu=rtx3060-12gb gpus=2
set -euo pipefail

DATA=${DATA:-/data/faces}

torchrun --nproc_per_node=2 train_1024x1024.py \
    --dataset_path "$DATA" \
    --model hrnet \
    --image_size 1024 1024 \
    --batch_size 3 \
    --gradient_accumulation_steps 4 \
    --num_workers 4 \
    --prefetch_factor 2 \
    --pin_memory False \
    --mixed_precision \
    --use_ema \
    --use_ddp   # one process a card
