#!/usr/bin/env bash
# audit_env.sh VENV: an environment for pip-audit and CycloneDX's tool, apart from what they look at.
# Ends with 3, and says so, where they cannot be installed.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$1
stamp=$venv/.ready-$(sha256sum tools/audit-requirements.txt | cut -c1-16)
[ -f "$stamp" ] && exit 0
if [ -e "$venv" ] && [ ! -e "$venv/.audit-env" ]; then
    echo "error: $venv exists and was not made by this script; not touching it" >&2
    exit 1
fi
python3 -m venv --clear "$venv"
touch "$venv/.audit-env"
if ! "$venv/bin/pip" install --quiet --disable-pip-version-check --no-input \
    --requirement tools/audit-requirements.txt; then
    echo "NOT RUN: pip-audit and cyclonedx-bom cannot be installed here" >&2
    exit 3
fi
touch "$stamp"
