#!/usr/bin/env bash
# Stage 2: masks, starting from the detector's weights.
# vramlint: gpu=gtx1650ti-4gb
python train_segmentation.py \
  --size nano \
  --batch 4 \
  --accum 2 \
  --resolution 384 \
  --multi_scale 1 \
  --num_queries 300 \
  --workers 2
