#!/bin/sh
# Makes an environment with RTK (Apache-2.0) and XCIST (gecatsim, BSD-3-Clause) for scan.py.
#
#   benches/peers/scan.sh [FOLDER]      default: benches/peers/env-scan
#
# Needs the network, Python 3.11 or newer with venv, and 0.7 GB of disk. XCIST is unpacked, not built: its
# source package brings the libraries for Linux on x86-64, while its build script stops at DOS line
# ends.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
folder=${1:-$here/env-scan}
python=${PYTHON:-python3}

"$python" -m venv "$folder"
pip() {
    "$folder/bin/python" -m pip --disable-pip-version-check "$@"
}
pip install --requirement "$here/requirements-scan.txt"
pip download --no-deps --no-binary :all: --dest "$folder/source" gecatsim==1.6.9
"$folder/bin/python" - "$folder/source/gecatsim-1.6.9.tar.gz" <<'END'
import sys
import sysconfig
import tarfile

target = sysconfig.get_path("purelib")
with tarfile.open(sys.argv[1]) as package:
    for member in package.getmembers():
        inner = member.name.partition("/")[2]
        if inner.startswith("gecatsim/") or inner == "PKG-INFO":
            # With its version where importlib looks for it.
            member.name = "gecatsim-1.6.9.dist-info/METADATA" if inner == "PKG-INFO" else inner
            package.extract(member, target, filter="data")
END
"$folder/bin/python" -c 'from importlib.metadata import version
import gecatsim.reconstruction.pyfiles.helical_equiAngle
from itk import RTK
print("RTK", version("itk-rtk"), "and XCIST", version("gecatsim"), "start")'
