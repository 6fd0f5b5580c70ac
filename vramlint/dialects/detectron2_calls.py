"""A LazyConfig's model, built by calls, under the keys that the same model has in detectron2's YAML files.

One set of builders serves both eras: ``L(FPN)(bottom_up=L(ResNet)(…))`` is ``MODEL.FPN`` and ``MODEL.RESNETS``. A part
without such keys keeps its class as its name, so that the estimate says which one it does not know.

Source: detectron2 2026-06 ``configs/common/models`` beside ``from_config`` of the classes they call.
"""

from __future__ import annotations

import re
from typing import Any

from vramlint.plan import ModelTree
from vramlint.plan.tree import NOT_CONSTANT

_Call = dict[str, Any]
_KNOWN = ("GeneralizedRCNN", "ProposalNetwork", "PanopticFPN", "RetinaNet")


def keys_of(tree: _Call) -> ModelTree:
    """The tree of ``MODEL`` keys that ``tree`` (calls by their ``_target_``) stands for."""
    found = ModelTree(_framework="detectron2", _scope="detectron2")
    kind = _target(tree)
    found["type"] = kind if kind in _KNOWN else f"{kind} of detectron2"
    found.update(_backbone(_part(tree, "backbone"), fpn_of_retina=kind == "RetinaNet"))
    if kind == "RetinaNet":
        found.update(_retina(tree))
        return found
    found.update(_proposals(_part(tree, "proposal_generator")))
    found.update(_regions(_part(tree, "roi_heads")))
    semantic = _part(tree, "sem_seg_head")
    if semantic:
        found["SEM_SEG_HEAD"] = _kept(
            {
                "NAME": _target(semantic),
                "NUM_CLASSES": semantic.get("num_classes"),
                "CONVS_DIM": semantic.get("conv_dims"),
                "COMMON_STRIDE": semantic.get("common_stride"),
                "NORM": _norm(semantic.get("norm")),
            }
        )
    return found


def _part(tree: Any, name: str) -> _Call:
    """A section of the tree; a list of equal heads (a cascade's) by its first."""
    found = tree.get(name) if isinstance(tree, dict) else None
    if isinstance(found, list) and found:
        found = found[0]
    return found if isinstance(found, dict) and NOT_CONSTANT not in found else {}


def _target(call: _Call) -> str:
    return str(call.get("_target_", "")).rpartition(".")[2]


def _norm(value: Any) -> Any:
    """A norm by name; a function that makes a batch norm is one. Lists of norms are as their first."""
    if isinstance(value, dict):
        text = str(value.get(NOT_CONSTANT, ""))
        return "BN" if "BatchNorm" in text else text[:40]
    return value


def _widths(value: Any) -> list[Any]:
    """A list of widths; one that only the code tells has a width that no builder takes."""
    if value is None or isinstance(value, list):
        return value or []
    return ["computed"]


def _kept(section: _Call) -> _Call:
    """Without what the calls do not say, nor text that refers to other parts (``${..num_classes}``)."""
    return {key: value for key, value in section.items() if value is not None and "${" not in str(value)}


def _backbone(call: _Call, *, fpn_of_retina: bool) -> _Call:
    if _target(call) == "SimpleFeaturePyramid":
        return _over_calls(call, _part(call, "net"))
    bottom = _part(call, "bottom_up") if _target(call) == "FPN" else call
    if _target(call) == "FPN" and _target(bottom) in ("MViT", "SwinTransformer", "RegNet"):
        return _over_calls(call, bottom)
    stages, stem = _part(bottom, "stages"), _part(bottom, "stem")
    plain = _target(bottom) == "ResNet" and str(stages.get("_target_", "")).endswith("make_default_stages")
    if not plain or _target(stem) != "BasicStem":
        return {"BACKBONE": {"NAME": _target(bottom) or _target(call)}}
    top = _target(_part(call, "top_block"))
    pyramid = "build_retinanet_resnet_fpn_backbone" if top == "LastLevelP6P7" else "build_resnet_fpn_backbone"
    found: _Call = {
        "BACKBONE": _kept(
            {
                "NAME": pyramid if _target(call) == "FPN" else "build_resnet_backbone",
                "FREEZE_AT": bottom.get("freeze_at", 0),
            }
        ),
        "RESNETS": _kept(
            {
                "DEPTH": stages.get("depth"),
                "NORM": _norm(stages.get("norm")),
                "STRIDE_IN_1X1": stages.get("stride_in_1x1"),
                "NUM_GROUPS": stages.get("num_groups"),
                "WIDTH_PER_GROUP": stages.get("bottleneck_channels"),
                "OUT_FEATURES": bottom.get("out_features"),
            }
        ),
    }
    if _target(call) == "FPN":
        features = bottom.get("out_features") if "${" in str(call.get("in_features")) else call.get("in_features")
        found["FPN"] = _kept(
            {"IN_FEATURES": features, "OUT_CHANNELS": call.get("out_channels"), "NORM": _norm(call.get("norm"))}
        )
    if fpn_of_retina and top != "LastLevelP6P7":
        found["BACKBONE"]["NAME"] = top
    return found


def _named(value: Any) -> Any:
    """A class given as an argument by its name."""
    text = value.get(NOT_CONSTANT) if isinstance(value, dict) else None
    return text if text and re.fullmatch(r"[A-Za-z_][\w.]*", str(text)) else value


def _over_calls(call: _Call, bottom: _Call) -> _Call:
    """A pyramid over a network that has no keys: the network's own call as it stands."""
    features = bottom.get("out_features") if "${" in str(call.get("in_features")) else call.get("in_features")
    return {
        "BACKBONE": {"NAME": _target(call)},
        "BOTTOM_UP": _kept({key: _named(value) for key, value in bottom.items()}),
        "FPN": _kept(
            {
                "IN_FEATURES": features,
                "OUT_CHANNELS": call.get("out_channels"),
                "NORM": _norm(call.get("norm")),
                "SCALE_FACTORS": call.get("scale_factors"),
                "TOP_BLOCK": _target(_part(call, "top_block")) or None,
            }
        ),
    }


def _anchors(call: _Call, count: Any = None) -> _Call:
    """Sizes and ratios; computed sizes are as many as make ``count`` anchors a place."""
    sizes, ratios = call.get("sizes"), call.get("aspect_ratios")
    if isinstance(ratios, list) and ratios and not isinstance(ratios[0], list):
        ratios = [ratios]
    if not isinstance(sizes, list) and isinstance(count, int) and isinstance(ratios, list):
        sizes = [[0] * (count // len(ratios[0]))]
    return _kept({"SIZES": sizes, "ASPECT_RATIOS": ratios})


def _proposals(call: _Call) -> _Call:
    return {
        "RPN": _kept(
            {
                "IN_FEATURES": call.get("in_features"),
                "CONV_DIMS": _part(call, "head").get("conv_dims"),
                "BATCH_SIZE_PER_IMAGE": call.get("batch_size_per_image"),
            }
        ),
        "ANCHOR_GENERATOR": _anchors(_part(call, "anchor_generator")),
    }


def _regions(call: _Call) -> _Call:
    box = _part(call, "box_head") or _part(call, "box_heads")
    mask, point = _part(call, "mask_head"), _part(call, "keypoint_head")
    predictor = _part(call, "box_predictor") or _part(call, "box_predictors")
    convs, linear = _widths(box.get("conv_dims")), _widths(box.get("fc_dims"))
    mask_convs, classes = _widths(mask.get("conv_dims")), call.get("num_classes")
    found: _Call = {
        "ROI_HEADS": _kept(
            {
                "NAME": _target(call),
                "NUM_CLASSES": classes,
                "IN_FEATURES": call.get("box_in_features") or call.get("in_features"),
                "BATCH_SIZE_PER_IMAGE": call.get("batch_size_per_image"),
                "POSITIVE_FRACTION": call.get("positive_fraction"),
            }
        ),
        "ROI_BOX_HEAD": _kept(
            {
                "POOLER_RESOLUTION": _part(call, "box_pooler").get("output_size"),
                "NUM_CONV": len(convs),
                "CONV_DIM": convs[0] if convs else None,
                "NUM_FC": len(linear),
                "FC_DIM": linear[0] if linear else None,
                "NORM": _norm(box.get("conv_norm")),
                "CLS_AGNOSTIC_BBOX_REG": predictor.get("cls_agnostic_bbox_reg"),
            }
        ),
        "MASK_ON": bool(mask),
        "KEYPOINT_ON": bool(point),
    }
    if mask:  # the last of the widths is the transposed convolution's
        found["ROI_MASK_HEAD"] = _kept(
            {
                "POOLER_RESOLUTION": _part(call, "mask_pooler").get("output_size"),
                "NUM_CONV": max(0, len(mask_convs) - 1),
                "CONV_DIM": mask_convs[0] if mask_convs else None,
                "NORM": _norm(mask.get("conv_norm")),
                "CLS_AGNOSTIC_MASK": mask.get("num_classes") == 1 and classes != 1,
            }
        )
    if point:
        found["ROI_KEYPOINT_HEAD"] = _kept(
            {
                "POOLER_RESOLUTION": _part(call, "keypoint_pooler").get("output_size"),
                "CONV_DIMS": _widths(point.get("conv_dims")),
                "NUM_KEYPOINTS": point.get("num_keypoints"),
            }
        )
    return found


def _retina(tree: _Call) -> _Call:
    head = _part(tree, "head")
    convs = _widths(head.get("conv_dims"))
    return {
        "RETINANET": _kept(
            {
                "NUM_CLASSES": tree.get("num_classes"),
                "IN_FEATURES": tree.get("head_in_features"),
                "NUM_CONVS": len(convs),
                "NORM": _norm(head.get("norm")),
            }
        ),
        "ANCHOR_GENERATOR": _anchors(_part(tree, "anchor_generator"), head.get("num_anchors")),
    }
