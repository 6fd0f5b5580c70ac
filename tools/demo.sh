#!/usr/bin/env bash
# Installs vramlint into .venv and runs it on a real example: the findings first, then what --fix would change.
set -euo pipefail
cd "$(dirname "$0")/.."

python3 -m venv .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check .

# Exit code 1 means "findings", which is what the example is for.
.venv/bin/vramlint examples/vessels/config.yml || [ $? -eq 1 ]
echo
.venv/bin/vramlint --fix --diff examples/vessels/config.yml || [ $? -eq 1 ]
