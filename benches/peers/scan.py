"""RTK's Joseph projector and XCIST's distance-driven projector and helical reconstruction, on the CPU.

Answers `crossmod bench scan`, one JSON object a line. Arrays are f32 in files beside each other:

    {"project": {"volume": FILE, "shape": [nx, ny, nz], "spacing": [dx, dy, dz], "angles": [...],
     "heights": [...], "out": FILE, SCANNER}}    ->  {"cpu_ms": ..., "ms": ...}
    {"reconstruct": {"projections": FILE, "views": N, "views_per_turn": N, "feed": mm, "pixels": N,
     "pixel": mm, "slices": N, "slice": mm, "out": FILE, SCANNER}}   ->  the same

SCANNER is "source", "detector" (mm from the focal spot), "channels", "channel" (radians), "centre" (channel
on the axis), "rows" and "row" (mm at the axis). Volumes are [z][y][x] of attenuation in mm⁻¹ about the
isocentre, projections [view][channel][row]. The geometry is that of crossmod's doc/scanner.md: the source
at angle λ from x to y, channels against the sense of rotation, rows from below. Times are those of the
tools' own calls; conversion from and to files is not counted.

    python scan.py --tool rtk --threads 2
"""

import argparse
import json
import os
import signal
import sys
import time

import numpy as np


class Watch:
    """Time by the clock and of the processor, of all threads."""

    def __init__(self) -> None:
        self.clock, self.processor = time.perf_counter(), time.process_time()

    def read(self) -> dict:
        return {
            "ms": (time.perf_counter() - self.clock) * 1e3,
            "cpu_ms": (time.process_time() - self.processor) * 1e3,
        }


def fans(given: dict) -> np.ndarray:
    return (np.arange(given["channels"]) - given["centre"]) * given["channel"]


def levels(given: dict) -> np.ndarray:
    """Heights of the rows at the detector."""
    rows = np.arange(given["rows"]) - (given["rows"] - 1) / 2
    return rows * given["row"] * given["detector"] / given["source"]


def volume(given: dict) -> np.ndarray:
    nx, ny, nz = given["shape"]
    return np.fromfile(given["volume"], np.float32).reshape(nz, ny, nx)


def rtk_project(given: dict) -> dict:
    """RTK turns about its second axis, with the source on the third one at angle 0."""
    import itk
    from itk import RTK as rtk

    image_type = itk.Image[itk.F, 3]
    dx, dy, dz = given["spacing"]
    # Ours along RTK's axes: x is y, the axis of rotation z stays the second, and z is x.
    turned = np.ascontiguousarray(volume(given).transpose(2, 0, 1))
    body = itk.image_from_array(turned)
    spacing = [dy, dz, dx]
    body.SetSpacing(spacing)
    body.SetOrigin([-(n - 1) / 2 * s for n, s in zip(turned.shape[::-1], spacing)])
    geometry = rtk.ThreeDCircularProjectionGeometry.New()
    geometry.SetRadiusCylindricalDetector(given["detector"])
    for angle, height in zip(given["angles"], given["heights"]):
        geometry.AddProjection(
            given["source"], given["detector"], np.degrees(angle), 0, height, 0, 0, 0, height
        )
    heights = levels(given)
    arc = given["detector"] * given["channel"]
    empty = rtk.ConstantImageSource[image_type].New()
    empty.SetSize([given["channels"], given["rows"], len(given["angles"])])
    empty.SetSpacing([arc, heights[1] - heights[0], 1.0])
    empty.SetOrigin([fans(given)[0] * given["detector"], heights[0], 0.0])
    empty.SetConstant(0.0)
    empty.Update()
    joseph = rtk.JosephForwardProjectionImageFilter[image_type, image_type].New()
    joseph.SetGeometry(geometry)
    joseph.SetInput(0, empty.GetOutput())
    joseph.SetInput(1, body)
    watch = Watch()
    joseph.Update()
    times = watch.read()
    found = itk.array_from_image(joseph.GetOutput())
    found.transpose(0, 2, 1).astype(np.float32).tofile(given["out"])
    return times


def xcist_project(given: dict) -> dict:
    """XCIST's source is on the second axis at angle 0."""
    from gecatsim.pyfiles.C_DD3Proj_mm import DD3Proj_mm

    nx, ny, nz = given["shape"]
    dx, _, dz = given["spacing"]
    gammas, heights = fans(given), levels(given)
    body = np.ascontiguousarray(volume(given).transpose(1, 2, 0)[::-1])
    angles = np.asarray(given["angles"]) - np.pi / 2
    watch = Watch()
    found = DD3Proj_mm(
        0,
        given["source"],
        0,
        given["channels"],
        given["rows"],
        (given["detector"] * np.sin(gammas)).astype(np.float32)[::-1].copy(),
        (given["source"] - given["detector"] * np.cos(gammas)).astype(np.float32)[::-1].copy(),
        heights.astype(np.float32),
        0,
        0,
        0,
        angles.astype(np.float32),
        np.asarray(given["heights"], np.float32),
        len(angles),
        nx,
        ny,
        nz,
        body,
        dx,
        dz,
        np.ones((2 * ny, nx), np.uint8),
    )
    times = watch.read()
    found.astype(np.float32).tofile(given["out"])
    return times


class Fields:
    """What XCIST keeps its settings in: a name with names below."""


def xcist_reconstruct(given: dict) -> dict:
    from gecatsim.reconstruction.pyfiles.helical_equiAngle import helical_equiAngle

    settings = Fields()
    settings.scanner, settings.protocol, settings.recon = Fields(), Fields(), Fields()
    scanner, protocol, recon = settings.scanner, settings.protocol, settings.recon
    scanner.sid, scanner.sdd = given["source"], given["detector"]
    scanner.detectorColCount, scanner.detectorRowCount = given["channels"], given["rows"]
    scanner.detectorColSize = 2 * given["detector"] * np.tan(given["channel"] / 2)
    # In its weights a row has its height at the detector, and the table moves by the feed as it is.
    scanner.detectorRowSize = given["row"] * given["detector"] / given["source"]
    scanner.detectorColOffset = given["centre"] - (given["channels"] - 1) / 2
    scanner.detectorRowOffset = 0.0
    protocol.viewsPerRotation, protocol.viewCount = given["views_per_turn"], given["views"]
    protocol.tableSpeed, protocol.rotationTime = given["feed"], 1.0
    protocol.startAngle, protocol.rotationDirection = 0.0, 1
    recon.imageSize, recon.sliceCount = given["pixels"], given["slices"]
    recon.sliceThickness, recon.fov = given["slice"], given["pixels"] * given["pixel"]
    recon.kernelType, recon.centerOffset = "R-L", [0.0, 0.0, 0.0]
    recon.printReconParameters = False
    shape = (given["views"], given["channels"], given["rows"])
    data = np.fromfile(given["projections"], np.float32).reshape(shape)
    data = data.transpose(0, 2, 1)[:, ::-1, ::-1].astype(np.float64)
    watch = Watch()
    found = helical_equiAngle(settings, data)
    times = watch.read()
    found.transpose(2, 1, 0).astype(np.float32).tofile(given["out"])
    return times


TOOLS = {
    "rtk": {"project": rtk_project},
    "xcist": {"project": xcist_project, "reconstruct": xcist_reconstruct},
}


def name(tool: str) -> str:
    from importlib.metadata import version

    if tool == "rtk":
        return f"RTK {version('itk-rtk')}"
    return f"XCIST {version('gecatsim')}"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--threads", type=int, required=True)
    arguments.add_argument("--tool", choices=tuple(TOOLS), default="rtk")
    given = arguments.parse_args()
    # Before the libraries are loaded, which read them once.
    os.environ["OMP_NUM_THREADS"] = str(given.threads)
    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = str(given.threads)
    os.environ["MPLBACKEND"] = "agg"
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What the libraries print, from C too, must not come between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

    def say(message: dict) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    say({"peer": name(given.tool), "threads": given.threads, "allocator": "system"})
    for line in sys.stdin:
        try:
            (work, what), *_ = json.loads(line).items()
            say(TOOLS[given.tool][work](what))
        except Exception as error:
            say({"error": f"{type(error).__name__}: {error}"})


if __name__ == "__main__":
    main()
