#!/bin/bash
# Pack what a machine without a network lacks, where its Python has torch, numba and numpy only:
# embreex (rays on the CPU), 46 MB unpacked, as 6 MB into .gpu/, which git ignores.
#
#     bash tools/lent_gpu/pack.sh [3.12]        the Python of that machine
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${1:-3.12}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
.venv/bin/pip download -q embreex --no-deps --only-binary=:all: --python-version "$python" \
    --platform manylinux_2_28_x86_64 -d "$work"
mkdir "$work/site" .gpu 2> /dev/null || mkdir -p .gpu
python3 -m zipfile -e "$work"/embreex-*.whl "$work/site"
rm -rf "$work"/site/*.dist-info
find "$work/site" -name '*.so*' -exec strip --strip-unneeded {} +
find "$work/site" \( -name '*.cpp' -o -name '*.pyx' -o -name '*.h' \) -delete
tar -C "$work/site" -cJf .gpu/site.tar.xz .
ls -l .gpu/site.tar.xz
