#!/usr/bin/env bash
# with_ray.sh VENV ARGUMENTS...: pytest with the arguments, in an environment that has Ray, made in VENV
# if it is not there. FLAGOS_EVAL_RAY_PYTHON names the interpreter (Ray has wheels for some only).
set -euo pipefail
venv=$1
shift
root=$(cd "$(dirname "$0")/.." && pwd)
python=${FLAGOS_EVAL_RAY_PYTHON:-python3}
stamp=$venv/.ready-$(sha256sum "$root/pyproject.toml" "$0" | sha256sum | cut -c1-16)
if [ ! -f "$stamp" ]; then
    if [ -e "$venv" ] && [ ! -e "$venv/.ray-env" ]; then
        echo "error: $venv exists and was not made by this script; not touching it" >&2
        exit 1
    fi
    "$python" -m venv --clear "$venv"
    touch "$venv/.ray-env"
    log=$(mktemp)
    trap 'rm -f -- "$log"' EXIT
    if ! "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input \
        --editable "$root[ray]" pytest hypothesis >"$log" 2>&1; then
        tail -n 15 -- "$log" >&2
        rm -rf -- "$venv"
        echo "NOT RUN: Ray cannot be installed here; nothing below it was tested" >&2
        exit 0
    fi
    touch "$stamp"
fi
exec "$venv/bin/python" -m pytest "$@"
