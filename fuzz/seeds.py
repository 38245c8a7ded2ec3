"""Fills fuzz/corpus with seeds: small files of the readers' test data and of the goldens.

CROSSMOD_TEST_DATA=... python fuzz/seeds.py
"""
import hashlib
import json
import math
import os
import pathlib
import re
import struct
import zlib

here = pathlib.Path(__file__).resolve().parent
MOST = 64 * 1024
# A mask of some kilobytes can be of a hundred megabytes, and reading it over and over finds nothing: most of
# the time would go into values, and what goes wrong goes wrong in headers.
MOST_UNPACKED = 16 * 1024
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
    """How many bytes or samples a file holds once decompressed, as far as its format tells easily."""
    if content[12:16] == b"IHDR":
        return struct.unpack(">I", content[16:20])[0] * struct.unpack(">I", content[20:24])[0]
    sides = re.search(rb"^(?:DimSize *=|sizes:)([ 0-9]+)", content[:2048], re.MULTILINE)
    if sides:
        return math.prod(int(side) for side in sides[1].split())
    at = content.find(b"\x1f\x8b\x08")
    if at < 0:
        return 0
    try:
        return len(zlib.decompressobj(31).decompress(content[at:], MOST_UNPACKED + 1))
    except zlib.error:
        return 0


def keep(name, content):
    to = target(name)
    if to and unpacked(content) <= MOST_UNPACKED:
        folder = here / "corpus" / to
        folder.mkdir(parents=True, exist_ok=True)
        (folder / hashlib.sha1(content).hexdigest()).write_bytes(content)


def png(kind, depth, interlaced, extra):
    """Five by four pixels of noughts: every kind of PNG there is, as the data has two of them."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[kind]
    # Adam7's passes: first column and row, steps.
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    lines = b""
    for x, y, dx, dy in passes if interlaced else [(0, 0, 1, 1)]:
        wide, high = len(range(x, 5, dx)), len(range(y, 4, dy))
        lines += (b"\0" * (1 + -(-wide * channels * depth // 8))) * (high if wide else 0)
    header = struct.pack(">IIBBBBB", 5, 4, depth, kind, 0, 0, interlaced)
    chunks = [(b"IHDR", header), *extra, (b"IDAT", zlib.compress(lines)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks)


for kind, depths in {0: [1, 2, 4, 8, 16], 2: [8, 16], 3: [1, 2, 4, 8], 4: [8, 16], 6: [8, 16]}.items():
    for depth in depths:
        palette = [(b"PLTE", b"\1\2\3\4\5\6"), (b"tRNS", b"\7")] if kind == 3 else []
        for interlaced in [0, 1]:
            keep("made.png", png(kind, depth, interlaced, palette))

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
