#!/usr/bin/env bash
# audit.sh VENV: known vulnerabilities in the pinned packages; VENV is made if it is not there.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tools/audit_env.sh "$venv" || { status=$?; [ "$status" -eq 3 ] && exit 0 || exit "$status"; }
reports=()
for pins in latest lowest; do
    reports+=("$work/$pins.json")
    # Its status is 1 for a vulnerability and for an unreachable service alike: the report decides.
    if ! timeout 300 "$venv/bin/pip-audit" --requirement "tools/constraints-$pins.txt" --no-deps \
        --disable-pip --progress-spinner off --format json --output "$work/$pins.json" \
        2>"$work/$pins.log"; then
        tail -n 1 "$work/$pins.log" >&2
    fi
done
"$venv/bin/python" tools/audit.py "${reports[@]}"
