#!/bin/sh
# Makes the Python environment of the PyTorch peer that `crossmod bench --peer` measures against.
#
#   benches/peers/install.sh [FOLDER] [PYTHON]      default: benches/peers/env, python3
#
# Needs Python 3.10 to 3.14 with venv and pip, the network, and disk: 5 GB on x86-64 Linux, whose
# wheel of PyTorch is linked against the CUDA libraries and does not start without them, GPU or
# not; less than 1 GB on macOS. Where PyTorch's own index of CPU wheels can be reached, `pip install
# torch==VERSION --index-url …/whl/cpu` into an environment of one's own serves as well and is a
# quarter of the size; this script uses the package index that pip is set up for and no other.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
folder=${1:-$here/env}
python=${2:-python3}

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || {
    echo "expected Python 3.10 or later, found $("$python" --version 2>&1); name another one:" \
        "$0 $folder /path/to/python3" >&2
    exit 2
}

free_mb=$(df -Pm "$(dirname "$folder")" | awk 'NR == 2 { print $4 }')
if [ "$(uname -s)" = Linux ] && [ "$free_mb" -lt 7000 ]; then
    echo "expected 7 GB of free disk while installing, found $free_mb MB: $folder" >&2
    exit 1
fi

"$python" -m venv "$folder"
pip="$folder/bin/python -m pip --disable-pip-version-check"
$pip install --no-deps --requirement "$here/requirements.txt"

# All that PyTorch asks for, but the compiler of GPU kernels and the Python face of CUDA: neither
# is loaded on a CPU.
"$folder/bin/python" - > "$folder/dependencies.txt" <<'PYTHON'
from importlib.metadata import requires

from pip._vendor.packaging.requirements import Requirement

for line in requires("torch") or []:
    need = Requirement(line)
    wanted = need.marker is None or need.marker.evaluate({"extra": ""})
    if wanted and need.name not in ("triton", "cuda-bindings"):
        need.marker = None
        print(need)
PYTHON
$pip install --requirement "$folder/dependencies.txt"

"$folder/bin/python" -c 'import torch; print("PyTorch", torch.__version__, "starts")'

for place in /usr/lib/*/libjemalloc.so.2 /usr/lib64/libjemalloc.so.2 /usr/lib/libjemalloc.so.2 \
    /usr/local/lib/libjemalloc.so.2; do
    if [ -e "$place" ]; then
        echo "jemalloc is there and will be measured too: $place"
        exit 0
    fi
done
echo "jemalloc was not found, so the peer runs with the system's allocator only, with which it is" \
    "slower; to be fair to it, install libjemalloc.so.2 (Debian and Ubuntu: the package" \
    "libjemalloc2; Fedora: jemalloc)"
