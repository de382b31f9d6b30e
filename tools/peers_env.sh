#!/usr/bin/env bash
# Make the environments of the harnesses that benchmarks/peers.py measures: DEST/lmms and DEST/inspect.
#
#   tools/peers_env.sh DEST
#
# Exit codes as of lmms_env.sh, which makes the first: 0 ready, 64 wrong usage, 77 packages are out of
# reach, 1 something else. lmms-eval is installed without much of what it requires, so its start is, if
# anything, shorter than in a whole installation. Both get the same openai client.
set -euo pipefail

readonly INSPECT=0.3.285
readonly OPENAI=3.54.0
readonly DOTENV=1.2.4
readonly FILELOCK=3.20.0 # later ones have no filelock._api, which lmms-eval patches
readonly PYTABLEWRITER=1.2.1

if [[ $# -ne 1 || -z $1 || $1 == -* ]]; then
    echo "usage: $0 DEST" >&2
    exit 64
fi
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
dest=$1
recipe=$(cat -- "${BASH_SOURCE[0]}" "$here/lmms_env.sh" | { sha256sum 2>/dev/null || shasum -a 256; } | cut -c1-16)
stamp=$dest/.peers-env-$recipe
[[ ! -f $stamp ]] || exit 0

log=$(mktemp)
trap 'rm -f -- "$log"' EXIT
install() {
    local python=$1/bin/python
    shift
    if ! "$python" -m pip install --quiet --disable-pip-version-check --no-input "$@" >"$log" 2>&1; then
        tail -n 15 -- "$log" >&2
        echo "peers_env: pip could not install: $*" >&2
        exit 77
    fi
}

mkdir -p -- "$dest"
"$here/lmms_env.sh" "$dest/lmms"
install "$dest/lmms" "openai==$OPENAI" "python-dotenv==$DOTENV" "filelock==$FILELOCK" \
    "pytablewriter==$PYTABLEWRITER"
# The same Python for both.
[[ -x $dest/inspect/bin/python ]] || "$dest/lmms/bin/python" -m venv -- "$dest/inspect"
install "$dest/inspect" "inspect_ai==$INSPECT" "openai==$OPENAI"
: >"$stamp"
echo "peers_env: ready: $dest" >&2
