#!/bin/sh
# Adds nnU-Net v2 (Apache-2.0) to the peers' environment, for nnunet.py; install.sh comes first.
#
#   benches/peers/nnunet.sh [FOLDER]      default: benches/peers/env
#
# Needs the network and 2 GB more of disk. The versions of PyTorch and NumPy stay as they are.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
folder=${1:-$here/env}

[ -x "$folder/bin/python" ] || {
    echo "expected an environment that install.sh has made, found none; run first:" \
        "$here/install.sh $folder" >&2
    exit 2
}
"$folder/bin/python" -m pip --disable-pip-version-check install \
    --constraint "$here/requirements.txt" --requirement "$here/requirements-nnunet.txt"
"$folder/bin/python" -c 'from importlib.metadata import version
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
print("nnU-Net", version("nnunetv2"), "starts")'
