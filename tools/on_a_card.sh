#!/usr/bin/env bash
# All that waits for a CUDA card: tests marked gpu, the standard sweep, and its table of measured against predicted.
# Usage: tools/on_a_card.sh [OUTPUT.json]; wants the extras trace and probe, and timm, transformers, peft for all families.
set -euo pipefail
cd "$(dirname "$0")/.."
output="${1:-.vramlint/probe.json}"
python -m pytest -q -m gpu tests/probe
python -m vramlint probe --standard --output "$output"
echo "Rows for tests/data are in $output; split them before any constant is set from them."
