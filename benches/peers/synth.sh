#!/bin/sh
# Adds TorchIO and MONAI (both Apache-2.0) to the peers' environment, for synth.py; install.sh comes
# first.
#
#   benches/peers/synth.sh [FOLDER]      default: benches/peers/env
#
# Needs the network and 0.5 GB more of disk. The versions of PyTorch and NumPy stay as they are.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
folder=${1:-$here/env}

[ -x "$folder/bin/python" ] || {
    echo "expected an environment that install.sh has made, found none; run first:" \
        "$here/install.sh $folder" >&2
    exit 2
}
"$folder/bin/python" -m pip --disable-pip-version-check install \
    --constraint "$here/requirements.txt" --requirement "$here/requirements-synth.txt"
"$folder/bin/python" -c 'import monai, torchio
print("TorchIO", torchio.__version__, "and MONAI", monai.__version__, "start")'
