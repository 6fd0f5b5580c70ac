"""The rows of the table for vision: detection, segmentation, classification, self-supervised and contrastive."""

from __future__ import annotations

from vramlint.dialects.rows import NOT_A_TRAINER, PYTHON, YAML, Row, a_class, call, keys, line, row

_NOT_TIMM = "lr_scheduler auto_augment random_erase data_path weights output_dir train_data blr nbs"
_XTUNER = r"(?m)^from xtuner\.model"
_RTDETR_FILES = r"(?i)rtdetr|d-?fine|deim|(loader|optimizer|runtime|_detection)\.ya?ml"
_OPENMMLAB = "train_dataloader optim_wrapper auto_scale_lr default_scope default_hooks"
NOT_EVALUATION = r"(^|/)(?!eval|test|predict)[^/]*$"
_DATA_AND_TRAINER = (
    r"(?m)^ *- *(?:override */)?(?:data|datamodule) *: *\w+(?=[\s\S]*^ *- *(?:override */)?trainer *: *\w)"
)
"""A list of defaults that chooses both makes a run; a group's own list does not."""
_COMMON = r"(^|/)common/"
_LAZY_PART = r"\b(LazyCall|get_config|dataloader)\b"
_LAZY_IMPORT = (
    r"(?m)^from \.[\w.]* import (?:\([\w\s,]*|[\w ,]*)\bdataloader\b"
    r"(?=[\s\S]*^(?:train|model|dataloader|optimizer)\.\w)"
)
_LAZY_CALL = r"(?m)\b(?:LazyCall|model_zoo|get_config)\b(?=[\s\S]*^dataloader\b)(?=[\s\S]*^(?:train|optimizer)\b)"
"""A lazy config takes ``dataloader`` over or makes it, and changes what it took over."""

VISION: tuple[Row, ...] = (
    row(
        "dinov2",
        "DINOv2",
        keys(
            "train{}", "student{} teacher{} crops{} dino{} ibot{}", none_of="trainer datasets base_model", syntaxes=YAML
        ),
        module="dinov2",
    ),
    row("dinov2_network", "DINOv2 networks for evaluation", keys(any_of="student teacher crops dino ibot", least=2)),
    row(
        "detectron2",
        "detectron2 and maskrcnn-benchmark",
        keys(
            "SOLVER",
            "SOLVER.IMS_PER_BATCH MODEL.META_ARCHITECTURE MODEL.WEIGHTS DATALOADER.NUM_WORKERS VERSION _BASE_",
            none_of="TRAIN.BATCH_SIZE_PER_GPU DATA.BATCH_SIZE",
            syntaxes=YAML,
        ),
        keys("_BASE_", "MODEL SOLVER DATASETS INPUT", syntaxes=YAML),
        module="detectron2",
    ),
    row(
        "yacs_other",
        "HRNet, Swin and other yacs files",
        keys("MODEL{}", "SOLVER DATASETS INPUT TEST DATA TRAIN", syntaxes=YAML),
    ),
    row(
        "rtdetr",
        "RT-DETR and D-FINE",
        keys(
            "__include__[]",
            "RTDETR DFINE DEIM PResNet HGNetv2 HybridEncoder RTDETRTransformer RTDETRTransformerv2 DFINETransformer "
            "train_dataloader epoches",
            syntaxes=YAML,
        ),
        keys("__include__[] output_dir", syntaxes=YAML, text=_RTDETR_FILES),
        module="rtdetr",
    ),
    row(
        "yolov5_hyp",
        "hyper-parameters of YOLOv5 and YOLOv7",
        keys(
            any_of="lr0 lrf warmup_bias_lr box cls obj anchor_t iou_t hsv_h fl_gamma",
            least=6,
            none_of="batch imgsz task",
            syntaxes=YAML,
        ),
    ),
    row(
        "yolov5",
        "YOLOv5 and YOLOv7",
        line(
            r"train(_aux)?\.py$",
            r"data=\.ya?ml",
            "hyp cfg weights",
            also="batch_size batch img img_size",
            none_of="output_dir nbs",
        ),
        module="yolov5",
    ),
    row(
        "ultralytics_model",
        "YOLO model, data, tracker and inference files",
        keys("backbone[]", "head[] nc", syntaxes=YAML),
        keys("names", "train val path", syntaxes=YAML),
        keys("tracker_type", syntaxes=YAML),
        keys("mode=^(val|predict|export|track|benchmark)$", "task imgsz model", syntaxes=YAML),
    ),
    row(
        "ultralytics",
        "Ultralytics YOLO",
        keys(
            any_of="task mode=^train$ epochs batch imgsz patience close_mosaic lr0 lrf nbs mosaic hsv_h workers amp",
            least=4,
            also="batch imgsz nbs close_mosaic lr0",
            least_also=2,
            none_of="backbone nc names obj anchor_t",
        ),
        line(r"^(.*/)?yolo$", words=r"^(train|mode=train)$"),
        line(r"\.py$", "nbs", "batch batch_size"),
        call(
            r"\.train$",
            "data epochs imgsz batch cfg",
            none_of="dataset_dir",
            imports=r"^ultralytics",
            constant="batch imgsz epochs cfg",
        ),
        module="ultralytics",
    ),
    row(
        "rfdetr",
        "RF-DETR",
        line(
            r"\.py$",
            r"size=^(nano|small|base|medium|large|xlarge|2xlarge)$",
            "batch batch_size",
            also="accum grad_accum_steps resolution multi_scale num_queries",
            not_program=NOT_A_TRAINER,
        ),
        line(r"^(.*/)?rfdetr$", words=r"^(train|fit)$"),
        call(
            r"\.train$",
            "dataset_dir batch_size grad_accum_steps",
            imports=r"^rfdetr",
            constant="batch_size grad_accum_steps epochs",
        ),
        a_class(r"TrainConfig$", "batch_size grad_accum_steps"),
        module="rfdetr",
    ),
    row(
        "timm",
        "timm train.py",
        line(
            r"(^|/)(train\.py|distributed_train\.sh)$",
            "model",
            "sched aa mixup model_ema lr_base opt drop_path",
            least=2,
            none_of=_NOT_TIMM,
        ),
        line(r"(^|/)(train\.py|distributed_train\.sh)$", "model sched", "b batch_size amp", none_of=_NOT_TIMM),
        keys(
            any_of="aa amp batch_size crop_pct mixup model_ema sched smoothing drop_path lr_base train_interpolation",
            least=5,
            syntaxes=YAML,
        ),
        module="timm",
    ),
    row(
        "open_clip",
        "OpenCLIP",
        line(r"open_clip_train\.main|training\.main"),
        line(all_of="train_data accum_freq"),
        module="open_clip",
    ),
    row(
        "mae",
        "MAE and BEiT family",
        line(any_of="blr accum_iter mask_ratio", least=2, not_program="linprobe"),
        line(r"(^|/)(main|submitit)_(pretrain|finetune)\.py$", any_of="batch_size blr accum_iter"),
        module="mae",
    ),
    row("moco", "MoCo reference code", line(r"main_moco\.py$"), module="moco"),
    row("detr", "DETR", line(all_of="coco_path", any_of="batch_size lr_drop backbone"), module="detr"),
    row(
        "lightning_hydra",
        "lightning-hydra-template",
        keys("defaults[]", syntaxes=YAML, path=NOT_EVALUATION, text=_DATA_AND_TRAINER),
        line(
            r"(^|/)train\w*\.py$",
            any_of=r"~^\+*(trainer|data|datamodule|experiment)$ ~^\+*(trainer|data|datamodule)\.\w",
            none_of=r"~^\+*(model\.train_ds|actor_rollout_ref|dataset|optimization|task)\.",
        ),
        module="lightning_hydra",
    ),
    row("detectron2_part", "parts of detectron2 LazyConfigs", keys(syntaxes=PYTHON, path=_COMMON, text=_LAZY_PART)),
    row(
        "detectron2_lazy",
        "detectron2 LazyConfig",
        keys(syntaxes=PYTHON, text=_LAZY_IMPORT),
        keys(syntaxes=PYTHON, text=_LAZY_CALL),
        module="detectron2_lazy",
    ),
    row("openmmlab_base", "base files of OpenMMLab configs", keys(syntaxes=PYTHON, path=r"(^|/)_base_/")),
    row(
        "mmcv",
        "mmcv 1.x",
        keys("data.samples_per_gpu", "_base_ model", syntaxes=PYTHON),
        keys("data.train_dataloader.samples_per_gpu", "_base_ model", syntaxes=PYTHON),
        keys("data.videos_per_gpu", "_base_ model", syntaxes=PYTHON),
        module="mmcv",
    ),
    row("xtuner", "XTuner", keys("model train_dataloader", syntaxes=PYTHON, text=_XTUNER), module="xtuner"),
    row(
        "mmengine",
        "MMEngine",
        keys("_base_", syntaxes=PYTHON),
        keys("model", _OPENMMLAB, syntaxes=PYTHON),
        keys(syntaxes=PYTHON, text=r"with read_base\(\)"),
        module="mmengine",
    ),
    row("openmmlab_part", "data or schedule of OpenMMLab configs", keys(any_of=_OPENMMLAB, syntaxes=PYTHON)),
)
"""Most specific first, as the whole table is."""
