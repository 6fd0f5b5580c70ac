"""The tracing process: ``python -m vramlint.trace.runner REQUEST.json``.

Registers operators for the whole process and runs the user's code, so it is never the linter's own process. Progress
goes to standard error, one line a trace; the profile to the file that the request names. Exit status 3 says that the
user's own code raised.
"""

from __future__ import annotations

import json
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vramlint.trace.choices import Choices
    from vramlint.trace.making import VariantName
    from vramlint.trace.targets import Target

USER_ERROR = 3
"""Exit status where the code to be traced raised; its traceback is on standard error."""

TRACE_ERROR = 4
"""Exit status where vramlint cannot trace this; the last line on standard error says why."""


def main(arguments: list[str]) -> int:
    """Runs one request: a JSON file as :func:`vramlint.trace.run` writes it."""
    request = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    sys.path.insert(0, request["folder"])
    warnings.filterwarnings("ignore", message="Failed to initialize NumPy")  # torch's, of nothing used here
    import torch

    from vramlint.errors import TraceError

    torch.set_num_threads(1)
    try:
        data = _profile(request)
    except TraceError as error:
        sys.stderr.write(f"{json.dumps({'message': error.message, 'help': error.help})}\n")
        return TRACE_ERROR
    except Exception:  # noqa: BLE001 - anything may come out of the user's code; it is shown as theirs
        traceback.print_exc()
        return USER_ERROR
    Path(request["output"]).write_text(json.dumps(data), encoding="utf-8")
    return 0


def _profile(request: dict[str, Any]) -> dict[str, Any]:
    from vramlint.trace.choices import from_json
    from vramlint.trace.making import VariantName, make_profile, variants_of
    from vramlint.trace.targets import find_target
    from vramlint.trace.variations import varied

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    choices = from_json(request["choices"])
    target = varied(find_target(request["target"]), choices)
    if request["name"]:
        target = target._replace(name=request["name"])
    only = [VariantName(precision, bool(flag)) for precision, flag in request["variants"]] or variants_of(target)
    data = make_profile(target, request["date"], say, only)
    if choices.whole_step:
        data["steps"] = _steps(target, choices, only, say)
    if ":" in request["target"]:
        from vramlint.trace.families.user_models import code_fingerprint

        data["code"] = code_fingerprint(request["target"], Path(request["folder"]))
    return data


def _steps(
    target: Target, choices: Choices, variants: Iterable[VariantName], say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Whole steps at the first of the chosen points, one a variant, in JSON form."""
    from vramlint.trace.making import AUTOCAST_DTYPE
    from vramlint.trace.variations import shape_of
    from vramlint.trace.whole_step import trace_step

    shape = shape_of(target, choices.points[0]) if choices.points else target.shapes[-1]
    found = []
    for variant in variants:
        say(f"{target.name} {variant} whole step at {shape}")
        dtype = AUTOCAST_DTYPE if variant.precision == "amp" else None
        memory = trace_step(target, shape, choices, dtype=dtype, checkpointing=variant.checkpointing)
        found.append({**memory._asdict(), "shape": list(filter(None, shape)), "variant": str(variant)})
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
