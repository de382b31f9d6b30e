#!/usr/bin/env bash
# sbom.sh VENV FILE: what a wheel brings with it, as CycloneDX JSON, and whether it is whole.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tools/audit_env.sh "$1" || { status=$?; [ "$status" -eq 3 ] && exit 0 || exit "$status"; }
# The base dependencies alone, at the newest pins, in an environment that has nothing else.
python3 -m venv --without-pip "$work/venv"
"$1/bin/python" tools/sbom.py --dependencies >"$work/base.txt"
"$1/bin/pip" --python "$work/venv/bin/python" install --quiet --requirement "$work/base.txt" \
    --constraint tools/constraints-latest.txt
mkdir -p "$(dirname "$2")"
"$1/bin/cyclonedx-py" environment "$work/venv/bin/python" --pyproject pyproject.toml \
    --mc-type application --output-reproducible --of JSON --validate \
    --output-file "$2"
"$1/bin/python" tools/sbom.py "$2"
