#!/usr/bin/env bash
# Stage 1: boxes only. The laptop has a 4 GB GTX 1650 Ti.
# vramlint: gpu=gtx1650ti-4gb
python train_detector.py --size nano --batch 2 --accum 4 --resolution 384 --multi_scale 0 --workers 2
