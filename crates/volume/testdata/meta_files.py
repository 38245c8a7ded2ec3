"""Writes meta_files.json: MetaImage files in hexadecimal, and where ITK finds their voxels.

python meta_files.py > meta_files.json      (made with SimpleITK 2.5.7)
Each holds 3 x 4 x 2 samples. `points` are ITK's physical points of voxels (0, 0, 0), (2, 0, 0),
(0, 3, 0) and (0, 0, 1), turned from LPS to RAS; `values` are what ITK reads, x fastest.
"""
import json
import os
import tempfile

import numpy as np
import SimpleITK as sitk

c, s = np.cos(0.3), np.sin(0.3)
turn = [c, -s, 0, s, c, 0, 0, 0, -1]


def found(name, folder, files):
    image = sitk.ReadImage(os.path.join(folder, name))
    points = []
    for voxel in [(0, 0, 0), (2, 0, 0), (0, 3, 0), (0, 0, 1)]:
        x, y, z = image.TransformIndexToPhysicalPoint(voxel)
        points.append([-x, -y, z])
    return {
        "name": name,
        "files": {f: open(os.path.join(folder, f), "rb").read().hex() for f in files},
        "points": points,
        "values": sitk.GetArrayFromImage(image).ravel().tolist(),
    }


def by_itk(name, kind, packed, files):
    image = sitk.GetImageFromArray(np.arange(24).reshape(2, 4, 3).astype(kind))
    image.SetSpacing([0.7, 1.1, 2.5])
    image.SetOrigin([-12.5, 30.25, 7])
    image.SetDirection(turn)
    with tempfile.TemporaryDirectory() as folder:
        sitk.WriteImage(image, os.path.join(folder, name), packed)
        return found(name, folder, files)


def by_hand(name, lines, data, data_file="LOCAL"):
    header = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "DimSize": "3 4 2",
        "ElementType": "MET_UCHAR",
    } | lines
    text = "".join(f"{k} = {v}\n" for k, v in header.items() if v is not None)
    text += f"ElementDataFile = {data_file}\n"
    with tempfile.TemporaryDirectory() as folder:
        files = {name: text.encode()}
        if data_file == "LOCAL":
            files[name] += data
        else:
            files[data_file] = data
        for file, content in files.items():
            open(os.path.join(folder, file), "wb").write(content)
        return found(name, folder, files)


bytes24 = bytes(range(24))
matrix = " ".join(str(v) for v in np.array(turn).reshape(3, 3).T.ravel())
out = [
    by_itk("packed.mha", np.int16, True, ["packed.mha"]),
    by_itk("plain.mha", np.float32, False, ["plain.mha"]),
    by_itk("pair.mhd", np.uint16, True, ["pair.mhd", "pair.zraw"]),
    by_itk("pair_plain.mhd", np.float64, False, ["pair_plain.mhd", "pair_plain.raw"]),
    by_itk("long.mha", np.int64, True, ["long.mha"]),
    by_hand("size.mha", {"ElementSize": "2 3 4"}, bytes24),
    by_hand("both.mha", {"ElementSize": "2 3 4", "ElementSpacing": "1 2 3"}, bytes24),
    by_hand("minus.mha", {"ElementSpacing": "-1 2 3", "Offset": "5 6 7"}, bytes24),
    by_hand(
        "words.mha",
        {"AnatomicalOrientation": "LPS", "DistanceUnits": "cm", "TransformMatrix": matrix},
        bytes24,
    ),
    by_hand("old.mha", {"Rotation": matrix, "Origin": "1 2 3", "AnatomicalOrientation": "RAS"}, bytes24),
    by_hand("older.mha", {"Orientation": matrix, "Position": "1 2 3"}, bytes24),
    by_hand(
        "big.mha",
        {"ElementType": "MET_SHORT", "ElementByteOrderMSB": "True", "BinaryDataByteOrderMSB": None},
        np.arange(-12, 12).astype(">i2").tobytes(),
    ),
    by_hand("head.mhd", {"HeaderSize": "5"}, b"abcde" + bytes24 + b"xyz", "head.raw"),
    by_hand("tail.mhd", {"HeaderSize": "-1"}, b"abcde" + bytes24, "tail.raw"),
    by_hand("int.mha", {"ElementType": "MET_LONG"}, np.arange(24).astype("<i4").tobytes()),
    by_hand("scaled.mha", {"ElementToIntensityFunctionSlope": "2"}, bytes24),
]
print("[\n" + ",\n".join(map(json.dumps, out)) + "\n]")
