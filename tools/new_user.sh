#!/usr/bin/env bash
# A new user's path, timed: from nothing to a repaired config in a repository of their own with the hook installed.
# Four commands, of which the first is pip. Usage: bash tools/new_user.sh [what pip installs; this checkout by default]
set -euo pipefail
package=${1:-$(cd "$(dirname "$0")/.." && pwd)}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cp -r "$(dirname "$0")/../examples/vessels/." "$folder"
cd "$folder"
git init --quiet && git config user.name tester && git config user.email tester@example.org
git add --all && git commit --quiet --message "A config that runs out of memory"
python3 -m venv .venv && echo .venv >.gitignore
PATH=$folder/.venv/bin:$PATH

started=$SECONDS
step() { echo "\$ $*"; local begun=$SECONDS; "$@"; echo "  ($((SECONDS - begun)) s)"; }
step pip install --quiet --disable-pip-version-check "$package" pre-commit
step vramlint init --yes --local-hook
step vramlint --fix .
step pre-commit install
echo "four commands: $((SECONDS - started)) s"

# What was promised: the config is repaired, and the hook refuses one that is not.
git add --all && git commit --quiet --message "Repaired"
git show HEAD:config.yml | grep --quiet 'mixed_precision: fp16'
git show HEAD~1:config.yml >config.yml
if git commit --quiet --all --message "Broken again" >refused.txt 2>&1; then
    echo "the hook let a broken config pass" >&2
    exit 1
fi
grep --quiet 'error\[VL401\] vram-over' refused.txt
# The installed package has what its HTML report needs.
vramlint check --exit-zero --output-format html --output-file report.html . 2>/dev/null
grep --quiet 'Memory over the micro batch' report.html
echo "the repaired config is committed; the hook refuses the broken one"
