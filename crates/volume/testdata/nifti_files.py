"""Writes nifti_files.json and mgh_files.json: files in hexadecimal, and what nibabel finds in them.

python nifti_files.py      (made with nibabel 5.4.2)
Each holds 3 x 4 x 2 samples. `affine` is the first three rows of nibabel's, `values` its scaled data,
the first axis fastest.
"""
import json
import os
import tempfile

import nibabel as nib
import numpy as np

c, s = np.cos(0.3), np.sin(0.3)
affine = np.array(
    [[-0.7 * c, -1.1 * s, 0.05, 12.5], [-0.7 * s, 1.1 * c, 0, -30.25], [0, 0.02, 2.5, 7], [0, 0, 0, 1]]
)
upright = np.diag([-2.0, 2.0, 3.0, 1.0])


def case(name, image, files):
    with tempfile.TemporaryDirectory() as folder:
        nib.save(image, os.path.join(folder, name))
        held = {f: open(os.path.join(folder, f), "rb").read().hex() for f in files}
        again = nib.load(os.path.join(folder, name))
        return {
            "name": name,
            "files": held,
            "affine": again.affine[:3].tolist(),
            "values": again.get_fdata().ravel(order="F").tolist(),
        }


def values(kind):
    return np.arange(24).reshape(3, 4, 2, order="F").astype(kind)


def nifti(kind, cls, order="<", matrix=affine, qform_only=False):
    header = cls.header_class(endianness=order)
    header.set_data_dtype(np.dtype(kind).newbyteorder(order))
    image = cls(values(kind), matrix, header)
    if qform_only:
        image.set_qform(upright, 1)
        image.set_sform(None, 0)
    return image


def keep(name):
    with open(name, "w") as file:
        file.write("[\n" + ",\n".join(map(json.dumps, out)) + "\n]\n")


out = [
    case("two.nii", nifti(np.int16, nib.Nifti2Image), ["two.nii"]),
    case("two_big.nii.gz", nifti(np.float64, nib.Nifti2Image, ">"), ["two_big.nii.gz"]),
    case("two_q.nii", nifti(np.uint8, nib.Nifti2Image, qform_only=True), ["two_q.nii"]),
    case("pair2.hdr", nifti(np.float32, nib.Nifti2Pair), ["pair2.hdr", "pair2.img"]),
    case("pair1.img", nifti(np.int16, nib.Nifti1Pair, ">"), ["pair1.hdr", "pair1.img"]),
]
scaled = nib.Nifti2Image(values(np.float64) * 0.37 - 2, affine)
scaled.set_data_dtype(np.int16)
out.append(case("scaled.nii", scaled, ["scaled.nii"]))
keep("nifti_files.json")

out = []
for kind in [np.uint8, np.int16, np.int32, np.float32]:
    name = f"{np.dtype(kind)}.mg" + ("z" if kind is not np.int16 else "h")
    out.append(case(name, nib.MGHImage(values(kind), affine), [name]))
keep("mgh_files.json")
