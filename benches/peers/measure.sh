#!/bin/sh
# Adds surface-distance, MONAI, SciPy and SimpleITK (all Apache-2.0 or BSD) to the peers' environment,
# for measure.py; install.sh comes first.
#
#   benches/peers/measure.sh [FOLDER]      default: benches/peers/env
#
# Needs the network and 0.3 GB more of disk. The versions of PyTorch and NumPy stay as they are.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
folder=${1:-$here/env}

[ -x "$folder/bin/python" ] || {
    echo "expected an environment that install.sh has made, found none; run first:" \
        "$here/install.sh $folder" >&2
    exit 2
}
"$folder/bin/python" -m pip --disable-pip-version-check install \
    --constraint "$here/requirements.txt" --requirement "$here/requirements-measure.txt"
"$folder/bin/python" -c 'import monai, scipy, SimpleITK, surface_distance
print("MONAI", monai.__version__, "SciPy", scipy.__version__, "and the others start")'
