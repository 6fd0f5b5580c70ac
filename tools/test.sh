#!/usr/bin/env bash
# Installs everything the tests need into .venv and runs them all. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."

python3 -m venv .venv
# torch first and pinned: a later range must not pull a CUDA build of several GB.
.venv/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
.venv/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[test,docs]'
# The catalogue of profiles is traced again in part. torchvision's own torch pin and CUDA libraries stay out.
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps timm==1.0.31 torchvision==0.28.0
.venv/bin/python -m pip install --quiet --disable-pip-version-check numpy pillow safetensors huggingface_hub regex psutil
# Real configs and launch code that some tests read as text; nothing of them is imported.
bash tools/fetch_wheels.sh

# Two processes, each whole files: the smallest machine that runs this has two cores.
.venv/bin/python -m pytest --numprocesses 2 --dist loadfile "$@"
