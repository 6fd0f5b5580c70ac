#!/usr/bin/env bash
# Downloads what the tests read of frameworks, configs and source code, into .cache/wheels (once), and pytest's source,
# which holds the schema of JUnit files. Nothing of it is installed.
set -euo pipefail
cd "$(dirname "$0")/.."

mkdir -p .cache/wheels
download() { .venv/bin/python -m pip download --quiet --disable-pip-version-check --no-deps --dest .cache/wheels "$@"; }
for wheel in mmdet==3.3.0 mmsegmentation==1.2.2 torchtune==0.6.1 ultralytics==8.4.190 axolotl==0.19.0 litgpt==0.5.13 \
    llm_foundry==0.22.0 megatron_core==0.16.1 torchtitan==0.3.0 transformers==5.24.0 mmaction2==0.24.1 mmdet3d==1.4.0 \
    tokenizers==0.23.3 accelerate==1.15.0 trl==1.16.0 llamafactory==0.9.5 lightning==2.6.6 lightning_utilities==0.15.3 \
    rfdetr==1.11.2 verl==0.9.1 addict==2.4.0 openrlhf==0.11.2 open_clip_torch==3.3.0 mmengine==0.10.7; do
    ls .cache/wheels/"${wheel%%==*}"-*.whl >/dev/null 2>&1 || download "$wheel"
done
ls .cache/wheels/pytest-*.tar.gz >/dev/null 2>&1 || download --no-binary pytest pytest==8.4.2 ||
    echo "no source of pytest: JUnit files are not held against their schema" >&2
# DeepSpeed publishes its source only, and pip runs its setup.py for the metadata: a failure costs one test, no more.
ls .cache/wheels/deepspeed-0.19.8.tar.gz >/dev/null 2>&1 ||
    { .venv/bin/python -m pip install --quiet --disable-pip-version-check setuptools wheel &&
        download --no-build-isolation deepspeed==0.19.8; } ||
    echo "no source of DeepSpeed: its arithmetic is not called" >&2
