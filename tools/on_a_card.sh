#!/usr/bin/env bash
# All that waits for a CUDA card, in one script of less than ten minutes: the tests marked gpu, the standard sweep with
# its table of measured against predicted, and the plain networks in every precision. Each part has a time limit, ends
# in no other part's way and leaves its output in the folder even where it is cut short.
# Usage: bash tools/on_a_card.sh [FOLDER]; python3 (or $PYTHON) needs torch, click, pathspec, pydantic, PyYAML and
# nvidia-ml-py; timm, transformers, peft, diffusers, … for their models, which are left out where they are not there.
# Nothing is installed: it runs from the checkout.
set -uo pipefail
cd "$(dirname "$0")/.."
folder="${1:-.vramlint/card}"
python="${PYTHON:-python3}"
mkdir -p "$folder"
export PYTHONPATH="$PWD:$PWD/rules${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1
failed=0

# part SECONDS NAME COMMAND...: runs a part within its time; its output goes to the screen and to NAME.log
part() {
    local seconds="$1" name="$2"
    shift 2
    echo "== $name (at most $seconds s)"
    if ! timeout --kill-after=10 "$seconds" "$@" 2>&1 | tee "$folder/$name.log"; then
        echo "== $name did not end well (status ${PIPESTATUS[0]}); what it wrote is kept"
        failed=1
    fi
}

part 30 versions "$python" -c "import torch; print(torch.__version__, torch.version.cuda, torch.cuda.get_device_name(0))"
part 60 gpu-tests "$python" -m pytest -q -p no:cacheprovider -m gpu tests/probe/test_cuda.py
part 400 sweep "$python" -m vramlint probe --standard --minutes 6 --output "$folder/probe.json"
part 60 quick "$python" -m vramlint probe --quick --minutes 0.7 --output "$folder/quick.json"
echo "Rows are in $folder/probe.json, each marked as one to set constants from or one to check them with."
exit "$failed"
