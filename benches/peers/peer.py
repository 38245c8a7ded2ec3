"""PyTorch's side of `crossmod bench`: times what it is asked to, one JSON object a line.

Reads requests from stdin and answers on stdout; ends with its input. It says first who it is:

    {"peer": "PyTorch 2.15.0", "threads": 2, "allocator": "default"}
    < {"op": {"kind": "conv", ...}, "pass": "fwd+bwd", "repeat": 5}
    > {"ms": [3.1, ...]}
    < {"step": {"kind": "unet3d", ...}, "weights": FILE|null, "inputs": FILE|null, "repeat": 10}
    > {"ms": [...], "losses": [{"cross_entropy": 1.79}, ...], "peak_rss_mb": 1204.5}
    < {"infer": {"kind": "unet3d", ...}, "weights": ..., "inputs": ..., "repeat": 5}
    > {"ms": [...], "peak_rss_mb": 1204.5}
    > {"error": "what was wrong"}

What is built for a request is kept for the next one of the same description: timing goes on where
it was, and a training with it. Files given start a training anew. Ops are called once untimed
before each series; steps are not, since each one moves the weights.

    python peer.py --threads 2
    python peer.py --device cuda --precision bf16
"""

import argparse
import json
import os
import resource
import signal
import sys
import time
from typing import Any, Callable

import torch

import ops
import steps


def allocator() -> str:
    """The memory allocator this process was started with."""
    return "jemalloc" if "jemalloc" in os.environ.get("LD_PRELOAD", "") else "default"


def peak_rss_mb() -> float:
    """The most memory this process has held, in units of 10^6 bytes."""
    try:
        # Not getrusage, whose figure a process inherits from the one that started it.
        with open("/proc/self/status", encoding="ascii") as status:
            kib = next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
        return kib * 1024 / 1e6
    except (OSError, StopIteration):
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most / 1e6 if sys.platform == "darwin" else most * 1024 / 1e6


def timed(work: Callable[[], Any], repeat: int) -> tuple[list[float], list[Any]]:
    """Milliseconds of each call to its end, and what the calls gave."""
    milliseconds, results = [], []
    for _ in range(repeat):
        start = time.perf_counter()
        results.append(work())
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
        milliseconds.append((time.perf_counter() - start) * 1e3)
    return milliseconds, results


def rounded(precision: str) -> None:
    """Has CUDA multiply f32 as TF32, or not."""
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.benchmark = True


class Server:
    """Answers requests, keeping what it last built."""

    def __init__(self, device: str, mixed: bool) -> None:
        self.device = device
        self.mixed = mixed
        self.key: str | None = None
        self.subject: Any = None

    def kept(self, description: dict, build: Callable[[dict], Any]) -> Any:
        key = json.dumps(description, sort_keys=True)
        if key != self.key:
            # Two at once would count double in the memory.
            self.key, self.subject = None, None
            with torch.device(self.device):
                self.subject = build(description)
            self.key = key
        return self.subject

    def mixing(self, work: Callable[[], Any]) -> Callable[[], Any]:
        """The work in automatic mixed precision, where that is asked for."""
        if not self.mixed:
            return work
        return torch.autocast(self.device, torch.bfloat16)(work)

    def answer(self, request: dict) -> dict:
        if "op" in request:
            work = self.mixing(self.kept(request["op"], ops.build).of_pass(request["pass"]))
            work()
            return {"ms": timed(work, request["repeat"])[0]}
        if not ("step" in request or "infer" in request):
            raise ValueError(f"expected op, step or infer, found {', '.join(request)}")
        training = self.kept(request.get("step") or request["infer"], steps.build)
        if request.get("weights"):
            training.load(request["weights"], request["inputs"])
        work = self.mixing(training.step if "step" in request else training.infer)
        milliseconds, results = timed(work, request["repeat"])
        answer = {"ms": milliseconds, "peak_rss_mb": peak_rss_mb()}
        if "step" in request:
            answer["losses"] = results
        return answer


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--threads", type=int, default=os.cpu_count())
    arguments.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    arguments.add_argument(
        "--precision",
        choices=("f32", "tf32", "bf16"),
        default="f32",
        help="of products: on CUDA rounded to TF32; bf16 is automatic mixed precision",
    )
    given = arguments.parse_args()
    torch.set_num_threads(given.threads)
    rounded(given.precision)
    torch.manual_seed(1)
    # The program that started this one decides when it ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Whatever a library prints must not come between the answers.
    answers, sys.stdout = sys.stdout, sys.stderr

    def say(message: dict) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    version = torch.__version__.split("+")[0]
    threads = torch.get_num_threads()
    where = ", ".join(
        word
        for word, usual in ((given.device, "cpu"), (given.precision, "f32"))
        if word != usual
    )
    name = f"PyTorch {version}" + (f" ({where})" if where else "")
    say({"peer": name, "threads": threads, "allocator": allocator()})
    server = Server(given.device, given.precision == "bf16")
    for line in sys.stdin:
        try:
            say(server.answer(json.loads(line)))
        except Exception as error:
            say({"error": f"{type(error).__name__}: {error}"})


if __name__ == "__main__":
    main()
