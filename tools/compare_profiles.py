"""Shipped profiles against direct traces: ``python tools/compare_profiles.py [NAME…]``.

Ten points of batch and image size a model (batch alone where the size is fixed), under autocast: the peak of
activations and gradients as the profile gives it and as a trace made now has it. Needs torch and timm.
"""

from __future__ import annotations

import argparse
import gc
import sys
import timeit

from vramlint.memory.knowledge import Workload
from vramlint.memory.profile_catalogue import find_profile
from vramlint.plan import Precision

NAMES = (
    "resnet18", "resnet50", "resnet101", "resnext50_32x4d", "densenet121", "efficientnet_b0", "mobilenetv2_100",
    "mobilenetv3_large_100", "regnety_016", "convnext_tiny", "convnext_base", "vgg16_bn", "vit_tiny_patch16_224",
    "vit_base_patch16_224", "deit_small_patch16_224", "swin_tiny_patch4_window7_224", "mixer_b16_224", "poolformer_s12",
    "pvt_v2_b0", "hrnet_w18",
)  # fmt: skip

ANY_SIZE = (
    (1, 224, 224), (2, 224, 224), (4, 160, 160), (8, 96, 128), (16, 224, 224), (3, 512, 512), (32, 64, 64),
    (7, 320, 256), (64, 224, 224), (2, 640, 480),
)  # fmt: skip
BATCHES = (1, 2, 4, 7, 8, 16, 24, 32, 64, 128)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=NAMES)
    worst = max(_compare(name) for name in parser.parse_args().names)
    print(f"worst {worst:.3%}")
    return 0 if worst <= 0.005 else 1


def _compare(name: str) -> float:
    from vramlint.trace.events import Shape
    from vramlint.trace.making import VariantName, trace
    from vramlint.trace.targets import find_target

    profile = find_profile(f"timm/{name}")
    if profile is None:
        print(f"{name}: no profile", file=sys.stderr)
        return 0.0
    target = find_target(f"timm/{name}")
    fixed = profile.fixed_size
    differences = []
    for batch, height, width in ANY_SIZE if fixed is None else [(batch, *fixed) for batch in BATCHES]:
        recording = trace(target, VariantName("amp", checkpointing=False), Shape(batch, height, width))
        gc.collect()
        levels = [level for level in recording.levels() if level.phase.startswith("fresh")]
        direct = max(level.activation_bytes + 4 * level.gradient_elements for level in levels)
        workload = Workload(batch, Precision.BF16, False, height, width)  # noqa: FBT003
        moments = [moment for moment in profile.moments(workload) if moment.phase != "evaluation"]
        differences.append(max(m.activation_bytes + 4 * m.gradient_elements for m in moments) / direct - 1)
    microseconds = min(timeit.repeat(lambda: profile.moments(workload), number=200, repeat=5)) / 200 * 1e6
    worst = max(map(abs, differences))
    print(f"{name}: worst of {len(differences)} points {worst:.3%}, evaluation {microseconds:.1f} us", flush=True)
    return worst


if __name__ == "__main__":
    sys.exit(main())
