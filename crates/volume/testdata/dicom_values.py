"""Writes dicom_values.json: what pydicom finds in the DICOM files of the readers' test data.

CROSSMOD_TEST_DATA=... python dicom_values.py > dicom_values.json
(made with pydicom 3.0.2, pylibjpeg 2.1.0 with libjpeg 2.5.0 and openjpeg 2.6.0, pyjpegls 1.5.1)
Of each file with one grey sample a pixel: frames, rows, columns; of the values after rescale the
least, greatest, sum, and the sum of value times place (counted from 1, modulo 1009) through all
frames in the file's order.
"""
import json
import os
import sys

import numpy as np
import pydicom

root = os.path.join(os.environ["CROSSMOD_TEST_DATA"], "readers")
out = []
for folder in ["pydicom", "highdicom_seg", "rt_utils", "dcmqi_seg", "ct_ge_tilt_irregular"]:
    for base, _, files in os.walk(os.path.join(root, folder)):
        for name in sorted(files):
            path = os.path.join(base, name)
            try:
                ds = pydicom.dcmread(path, force=True)
                if "Rows" not in ds or ds.get("SamplesPerPixel", 1) != 1:
                    continue
                if ds.PhotometricInterpretation.startswith("PALETTE") or ds.get("Modality") == "SM":
                    continue
                values = ds.pixel_array.astype(np.float64)
            except Exception as e:
                print(os.path.relpath(path, root), repr(e)[:150], file=sys.stderr)
                continue
            slope = float(ds.get("RescaleSlope", ds.get("DoseGridScaling", 1)) or 1)
            intercept = float(ds.get("RescaleIntercept", 0) or 0)
            flat = values.ravel() * slope + intercept
            weights = (np.arange(flat.size) % 1009) + 1
            out.append(
                {
                    "file": os.path.relpath(path, root),
                    "syntax": str(ds.file_meta.get("TransferSyntaxUID", "")),
                    "modality": ds.get("Modality", ""),
                    "frames": int(ds.get("NumberOfFrames", 1) or 1),
                    "rows": ds.Rows,
                    "columns": ds.Columns,
                    "least": flat.min(),
                    "greatest": flat.max(),
                    "sum": flat.sum(),
                    "weighted": (flat * weights).sum(),
                }
            )
out.sort(key=lambda o: o["file"])
print("[\n" + ",\n".join(map(json.dumps, out)) + "\n]")
