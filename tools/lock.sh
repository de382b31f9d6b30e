#!/usr/bin/env bash
# Pin what the tests run with: the newest versions, and the lowest that pyproject.toml allows.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/uv"
"$work/uv/bin/pip" install --quiet uv
compile() { "$work/uv/bin/uv" pip compile --quiet --universal --no-header --no-annotate --group dev pyproject.toml "$@"; }
compile --python-version 3.10 --output-file tools/constraints-latest.txt
# A pandas of that age was built against numpy 1, as in the vendor images that carry it.
echo "numpy<2" >"$work/numpy.txt"
compile --python-version 3.10 --resolution lowest-direct --constraint "$work/numpy.txt" \
    --output-file tools/constraints-lowest.txt
