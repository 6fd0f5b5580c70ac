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
from pathlib import Path
from typing import Any

USER_ERROR = 3
"""Exit status where the code to be traced raised; its traceback is on standard error."""

TRACE_ERROR = 4
"""Exit status where vramlint cannot trace this; the last line on standard error says why."""


def main(arguments: list[str]) -> int:
    """Runs one request: a JSON file with ``target``, ``output``, ``date``, ``folder`` and optional ``variants``."""
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
    from vramlint.trace.making import VariantName, make_profile
    from vramlint.trace.targets import find_target

    target = find_target(request["target"])
    if request.get("name"):
        target = target._replace(name=request["name"])
    if request.get("optimizer"):
        from vramlint.trace.families.user_models import find_callable

        target = target._replace(optimizer=find_callable(request["optimizer"]))
    only = None
    if request.get("variants"):
        only = [VariantName(precision, bool(flag)) for precision, flag in request["variants"]]
    data = make_profile(target, request["date"], lambda line: print(line, file=sys.stderr, flush=True), only)
    if ":" in request["target"]:
        from vramlint.trace.families.user_models import code_fingerprint

        data["code"] = code_fingerprint(request["target"], Path(request["folder"]))
    return data


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
