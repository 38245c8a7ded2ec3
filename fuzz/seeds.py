"""Fills fuzz/corpus with seeds: small files of the readers' test data and of the goldens.

CROSSMOD_TEST_DATA=... python fuzz/seeds.py
"""
import hashlib
import json
import os
import pathlib
import zlib

here = pathlib.Path(__file__).resolve().parent
MOST = 64 * 1024
# A mask of some kilobytes can be of a hundred megabytes, and reading it over and over finds nothing.
MOST_UNPACKED = 1024 * 1024
ENDS = {
    "nifti": (".nii", ".nii.gz", ".hdr", ".img"),
    "nrrd": (".nrrd", ".nhdr"),
    "meta": (".mha", ".mhd"),
    "mgh": (".mgh", ".mgz"),
    "png": (".png",),
    "dicom": (".dcm", ".seg"),
}


def target(name):
    return next((t for t, ends in ENDS.items() if name.lower().endswith(ends)), None)


def unpacked(content):
    """How many bytes the first gzip stream in a file holds, as far as they matter."""
    at = content.find(b"\x1f\x8b\x08")
    if at < 0:
        return 0
    try:
        return len(zlib.decompressobj(31).decompress(content[at:], MOST_UNPACKED + 1))
    except zlib.error:
        return 0


def keep(name, content):
    to = target(name)
    if to and len(content) <= MOST and unpacked(content) <= MOST_UNPACKED:
        folder = here / "corpus" / to
        folder.mkdir(parents=True, exist_ok=True)
        (folder / hashlib.sha1(content).hexdigest()).write_bytes(content)


golden = here.parent / "crates" / "volume" / "testdata"
for file in ["nifti_files", "mgh_files", "meta_files", "nrrd_files"]:
    for case in json.loads((golden / f"{file}.json").read_text()):
        files = case.get("files") or {case["name"] + ".nrrd": case["file"]}
        for name, content in files.items():
            keep(name, bytes.fromhex(content))
root = os.environ.get("CROSSMOD_TEST_DATA")
for base, _, names in os.walk(root) if root else []:
    for name in names:
        path = pathlib.Path(base, name)
        if target(name) and path.stat().st_size <= MOST:
            keep(name, path.read_bytes())
for folder in sorted((here / "corpus").iterdir()):
    print(folder.name, len(list(folder.iterdir())))
