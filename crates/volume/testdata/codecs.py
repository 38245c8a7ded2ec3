"""Writes codecs.json: frames compressed as DICOM holds them, and the samples that they stand for.

python codecs.py > codecs.json
(made with imagecodecs 2026.3.6: libjpeg-turbo, CharLS and OpenJPEG; pyjpegls 1.5.1 for noise below
16 bits)
`samples` are those that the same libraries decode, x fastest. Images have slopes, edges, noise and
flat areas, so that runs, escapes and every context of JPEG-LS occur.
"""
import io
import json

import imagecodecs
import jpeg_ls
import numpy as np


def image(bits, rows=19, columns=23):
    rng = np.random.default_rng(bits)
    y, x = np.mgrid[:rows, :columns]
    most = (1 << bits) - 1
    v = (x * 3 + y * 5) / (3 * columns + 5 * rows) * most
    v[4:12, 5:17] = most * 0.75
    v[13:17, :] = 0
    v[0:3, 12:] += rng.normal(0, most / 10, (3, columns - 12))
    return np.clip(v, 0, most).astype(np.uint8 if bits <= 8 else np.uint16)


out = []


def case(name, data, decoded, **more):
    decoded = np.asarray(decoded)
    out.append(
        {
            "name": name,
            "data": bytes(data).hex(),
            "rows": decoded.shape[0],
            "columns": decoded.shape[1],
            "samples": decoded.astype(int).ravel().tolist(),
        }
        | more
    )


for bits in [8, 12]:
    for level in [95, 50]:
        data = imagecodecs.jpeg8_encode(image(bits), level=level, bitspersample=bits)
        case(f"jpeg {bits} bits {level}", data, imagecodecs.jpeg8_decode(data), lossy=1)
for bits in [8, 12, 16]:
    for predictor in range(1, 8):
        data = imagecodecs.jpeg8_encode(
            image(bits), lossless=True, predictor=predictor, bitspersample=bits
        )
        decoded = imagecodecs.jpeg8_decode(data)
        assert (decoded == image(bits)).all(), (bits, predictor)
        case(f"jpeg lossless {bits} bits, predictor {predictor}", data, decoded)
for bits in [8, 16]:
    for near in [0, 1, 3]:
        data = imagecodecs.jpegls_encode(image(bits), level=near)
        case(f"jpegls {bits} bits, near {near}", data, imagecodecs.jpegls_decode(data))
for bits in [2, 5, 7, 10, 12]:
    for near in [0, 2] if bits > 5 else [0]:
        data = jpeg_ls.encode_array(image(bits), lossy_error=near)
        data = bytes(data)
        case(f"jpegls of {bits} bits, near {near}", data, imagecodecs.jpegls_decode(data))
for kind in [np.uint8, np.uint16, np.int16]:
    bits = 8 if kind is np.uint8 else 16
    values = image(bits).astype(np.int64) - (32768 if kind is np.int16 else 0)
    values = values.astype(kind)
    data = imagecodecs.jpeg2k_encode(values, level=0, reversible=True, codecformat="j2k")
    decoded = imagecodecs.jpeg2k_decode(data)
    assert (decoded == values).all()
    case(f"jpeg2000 {np.dtype(kind)}", data, decoded)
    boxed = imagecodecs.jpeg2k_encode(values, level=0, reversible=True, codecformat="jp2")
    case(f"jpeg2000 {np.dtype(kind)} in boxes", boxed, imagecodecs.jpeg2k_decode(boxed))
print("[\n" + ",\n".join(map(json.dumps, out)) + "\n]")
