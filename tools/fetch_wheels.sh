#!/usr/bin/env bash
# Downloads the wheels whose config files the corpus tests read, into .cache/wheels (once), and pytest's source, which
# holds the schema of JUnit files.
set -euo pipefail
cd "$(dirname "$0")/.."

mkdir -p .cache/wheels
for wheel in mmdet==3.3.0 mmsegmentation==1.2.2 torchtune==0.6.1 ultralytics==8.4.190; do
    name=${wheel%%==*}
    if ! ls .cache/wheels/"$name"-*.whl >/dev/null 2>&1; then
        .venv/bin/python -m pip download --quiet --disable-pip-version-check --no-deps --dest .cache/wheels "$wheel"
    fi
done
if ! ls .cache/wheels/pytest-*.tar.gz >/dev/null 2>&1; then
    .venv/bin/python -m pip download --quiet --disable-pip-version-check --no-deps --no-binary pytest \
        --dest .cache/wheels pytest==8.4.2
fi
