#!/usr/bin/env bash
# The core's tests under Python 3.13, in a chroot of Debian trixie: tools/test_trixie.sh FOLDER TEST...
# Needs root and debootstrap (apt-get install debootstrap). FOLDER is made once and kept.
set -euo pipefail
folder=$(realpath -m "$1")
shift
top=$(cd "$(dirname "$0")/.." && pwd)
if [[ $(id -u) != 0 ]] || ! command -v debootstrap > /dev/null; then
    echo "make python-test needs root and debootstrap (apt-get install debootstrap)" >&2
    exit 2
fi
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
if [[ ! -e $folder/ready ]]; then
    rm -rf --one-file-system "$folder"
    debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates trixie "$folder" "$mirror" > /dev/null
    touch "$folder/ready"
fi
cp --dereference /etc/resolv.conf /etc/hosts "$folder/etc/"
cp --dereference /etc/ssl/certs/ca-certificates.crt "$folder/etc/ssl/certs/"
rm -rf "$folder/src"
mkdir "$folder/src"
git -C "$top" ls-files -z --cached --others --exclude-standard driv3r tests pyproject.toml README.md LICENSE |
    tar --create --directory "$top" --null --ignore-failed-read --files-from - | tar --extract --directory "$folder/src"
# A mount namespace of its own: /proc is gone again when the tests end, however they end.
exec env -u PYTHONPATH -u PIP_FIND_LINKS OMP_NUM_THREADS=1 unshare --mount --pid --fork --mount-proc="$folder/proc" \
    chroot "$folder" sh -ec '
        cd /src
        [ -x /venv/bin/python ] || python3 -m venv /venv
        /venv/bin/pip install --quiet ".[core-test]"
        /venv/bin/python -c "import sys; assert sys.version_info >= (3, 13), sys.version"
        exec /venv/bin/python -m pytest -q "$@"' tests "$@"
