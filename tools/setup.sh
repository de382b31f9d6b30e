#!/usr/bin/env bash
# setup.sh PYTHON VENV PINS: a virtual environment with the package (editable) and the dev group.
set -euo pipefail
python=$1 venv=$2 pins=$3

"$python" - <<'CHECK' || { echo "error: Python 3.10 or newer is needed; try: make setup PYTHON=python3.12" >&2; exit 2; }
import sys
sys.exit(sys.version_info < (3, 10))
CHECK

if ! "$python" -m venv --clear "$venv" >/dev/null 2>&1; then
    # Debian and Ubuntu keep venv in a package of its own.
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null
        "$python" -m venv --clear "$venv"
    else
        echo "error: $python cannot make a virtual environment; try: sudo apt-get install python3-venv" >&2
        exit 74
    fi
fi
"$venv/bin/python" -m pip install --quiet --upgrade "pip>=25.1"
"$venv/bin/python" -m pip install --quiet --constraint "$pins" --group dev --editable .
touch "$venv/.ready"
