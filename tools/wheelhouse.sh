#!/usr/bin/env bash
# wheelhouse.sh PYTHON DEST: the package and all it needs as wheels, for machines without a network.
#
#   PYTHONS="3.10 3.11 3.12 3.13"  PLATFORMS="x86_64 aarch64"   which ones (default: all of these)
#
# On the other machine: pip install --no-index --find-links DEST flagos-eval
# An image's own packages stay as they are: pip installs only what is missing.
set -euo pipefail
python=$1 dest=$2
: "${PYTHONS:=3.10 3.11 3.12 3.13}" "${PLATFORMS:=x86_64 aarch64}"
cd "$(dirname "$0")/.."
mkdir -p "$dest"
rm -f "$dest"/flagos_eval-*.whl
"$python" -m pip wheel --quiet --no-deps --wheel-dir "$dest" .
for version in $PYTHONS; do
    for machine in $PLATFORMS; do
        tags=()
        # pip matches these exactly, newest first; vendor images are on glibc 2.28 and up.
        for tag in manylinux_2_28 manylinux_2_27 manylinux_2_26 manylinux_2_24 manylinux_2_17 manylinux2014 manylinux_2_12 manylinux2010 manylinux_2_5 manylinux1; do
            tags+=(--platform "${tag}_${machine}")
        done
        echo "Python $version, $machine"
        # pip reads markers such as python_version < "3.11" for the interpreter it runs in, so the list
        # is made by uv, which reads them for the target.
        "$python" -m uv pip compile --quiet --no-header --no-annotate --python-version "$version" \
            --python-platform "$machine-manylinux_2_28" --only-binary :all: pyproject.toml \
            --output-file "$dest/needs.txt"
        "$python" -m pip download --quiet --only-binary=:all: --no-deps --python-version "$version" \
            --implementation cp "${tags[@]}" --dest "$dest" --requirement "$dest/needs.txt"
    done
done
rm -f "$dest/needs.txt"
(cd "$dest" && sha256sum -- *.whl >SHA256SUMS)
echo "$(find "$dest" -name '*.whl' | wc -l) wheels, $(du -sh "$dest" | cut -f1) in $dest"
