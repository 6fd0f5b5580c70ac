#!/bin/sh
# vramlint: gpu=rtx3090
python yolo3d.py train --model s --data configs/kitti-3d.yaml --imgsz 640 --batch 24 --nbs 64 --epochs 100 --device 0
