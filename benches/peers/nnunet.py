"""Plans, trains and predicts with nnU-Net v2 (doi:10.1038/s41592-020-01008-z) on the CPU, by clock.

The counterpart of `crossmod plan`, `train` and `predict` on one dataset: nnU-Net's own
fingerprint, plan and preprocessing (3d_fullres), its own trainer, losses and augmentation, its own
prediction. Only the end is another: nnU-Net counts 1000 epochs of 250 steps, here the time that is
given decides, and the learning rate falls with it, 1e-2 (1 - elapsed/given)^0.9, to 0 at its end.
The validation after each epoch is left out, so that all of the time is training.

    python nnunet.py DATASET --minutes 60 --threads 2 --seed 1 --out RUN
    crossmod evaluate RUN/pred DATASET/labelsTs

DATASET is a folder of nnU-Net (v1 or v2), of the Medical Segmentation Decathlon or with images/
and labels/, of NIfTI files, with a dataset.json. `--cpu-minutes` counts the processor time of all
threads and workers instead of the wall clock, for machines with others on them. `--plans` trains
from a plans.json of `crossmod plan` instead of nnU-Net's own.

Written to RUN: `nnUNet_raw`, `nnUNet_preprocessed`, `nnUNet_results` (nnU-Net's folders; its own
programs go on from them), `log.jsonl` (a row a step), `pred/` and `pred_unmirrored/` (every case of
imagesTs, with and without mirrored copies) and `summary.json`.

Batches are made in the training process or, as nnU-Net does, by `--workers` processes beside it; on
a few cores that gains nothing, since a batch is made in a hundredth of a step's time or less.
PyTorch can be faster with jemalloc; train_synseg.py says how to start it so. Needs what nnunet.sh
installs.
"""

import argparse
import json
import multiprocessing
import os
import random
import re
import resource
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Callable

import nibabel
import numpy as np
import torch
from nnunetv2.experiment_planning.plan_and_preprocess_api import (
    extract_fingerprints,
    plan_experiments,
    preprocess,
)
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from peer import allocator, peak_rss_mb

CONFIGURATION = "3d_fullres"
NUMBER = 1
SHOWN_EVERY_SECONDS = 30.0


def read_json(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8-sig"))


def write_json(path: Path, value: dict) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")


def in_workers(file: str) -> list[str]:
    """The text of a file of /proc for each process that this one has started and that lives."""
    texts = []
    for worker in multiprocessing.active_children():
        try:
            texts.append(Path(f"/proc/{worker.pid}/{file}").read_text())
        except OSError:
            continue
    return texts


def cpu_seconds() -> float:
    """Processor time, user and system, of this process, its threads and its workers."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    # The name of the program, in brackets, may hold spaces.
    ticks = [text.rpartition(")")[2].split()[11:13] for text in in_workers("stat")]
    living = sum(int(tick) for pair in ticks for tick in pair) / os.sysconf("SC_CLK_TCK")
    return time.process_time() + ended.ru_utime + ended.ru_stime + living


def workers_peak_rss_mb() -> float:
    """The most memory each worker has held, what it shares included, summed, 10^6 bytes."""
    lines = (line for text in in_workers("status") for line in text.splitlines())
    return sum(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM:"))


class Clock:
    """Wall and processor time since it was made."""

    def __init__(self) -> None:
        self.start = time.perf_counter(), cpu_seconds()

    def seconds(self) -> float:
        return time.perf_counter() - self.start[0]

    def cpu(self) -> float:
        return cpu_seconds() - self.start[1]

    def read(self) -> dict[str, float]:
        return {"seconds": round(self.seconds(), 2), "cpu_seconds": round(self.cpu(), 2)}


class Clocked(nnUNetTrainer):
    """nnU-Net's trainer until a time is spent, on the CPU, without validation."""

    def train_for(self, budget: float, spent: Callable[[Clock], float], log: Path) -> dict:
        """Trains for `budget` seconds of `spent`; gives what was done."""
        self.on_train_start()
        steps, shown, clock = 0, 0.0, Clock()
        self.network.train()
        with open(log, "w", encoding="ascii") as rows:
            while (done := spent(clock) / budget) < 1:
                rate = self.initial_lr * (1 - done) ** 0.9
                for group in self.optimizer.param_groups:
                    group["lr"] = rate
                loss = float(self.train_step(next(self.dataloader_train))["loss"])
                row = {"step": steps, "learning_rate": rate, "loss": loss, **clock.read()}
                rows.write(json.dumps(row) + "\n")
                rows.flush()
                steps += 1
                if clock.seconds() >= shown:
                    print(f"{100 * done:3.0f}%  step {steps}  loss {loss:.3f}", flush=True)
                    shown = clock.seconds() + SHOWN_EVERY_SECONDS
        times = clock.read()
        patches = steps * self.batch_size
        result = {
            "steps": steps,
            "patches": patches,
            **times,
            "patches_per_second": patches / times["seconds"],
            "patches_per_cpu_second": patches / times["cpu_seconds"],
            "peak_rss_mb": peak_rss_mb(),
            "workers_peak_rss_mb": workers_peak_rss_mb(),
        }
        self.save_checkpoint(str(Path(self.output_folder) / "checkpoint_final.pth"))
        for loader in (self.dataloader_train, self.dataloader_val):
            if hasattr(loader, "_finish"):
                loader._finish()
        return result


# The trainer's name is in the checkpoint, and nnU-Net's own programs must find it there.
Clocked.__name__ = nnUNetTrainer.__name__


def label_values(labels: dict) -> dict:
    """Name to value, whichever way round the file has them; background first."""
    if labels and all(key.isdigit() and isinstance(v, str) for key, v in labels.items()):
        labels = {name: int(value) for value, name in labels.items()}
    named = {name: v for name, v in labels.items() if v not in (0, "0")}
    return {"background": 0, **named}


def stems(folder: Path, ending: str) -> dict[str, Path]:
    files = sorted(folder.glob(f"*{ending}")) if folder.is_dir() else []
    return {f.name.removesuffix(ending): f for f in files if not f.name.startswith(".")}


def channels_of(path: Path, name: str, channels: int, ending: str, into: Path) -> None:
    """Places a file without a channel number, one file a channel."""
    image = nibabel.load(path)
    if image.ndim == 3:
        (into / f"{name}_0000{ending}").symlink_to(path.resolve())
        return
    if image.ndim != 4 or image.shape[3] != channels:
        found = f"found {image.shape}: {path}"
        sys.exit(f"expected 3 axes, or 4 with {channels} channels last, {found}")
    for channel in range(channels):
        part = image.slicer[..., channel]
        nibabel.save(part, into / f"{name}_{channel:04}{ending}")


def place(
    images: dict[str, Path], labels: dict[str, Path], channels: int, ending: str, into: Path
) -> list[str]:
    """Links or splits the images of one folder; gives the names of the cases."""
    into.mkdir(parents=True)
    numbered = all(re.fullmatch(r".+_\d{4}", stem) for stem in images)
    numbered = numbered and not any(stem in labels for stem in images)
    for stem, path in images.items():
        if numbered:
            (into / path.name).symlink_to(path.resolve())
        else:
            channels_of(path, stem, channels, ending, into)
    return sorted({stem[:-5] if numbered else stem for stem in images})


def convert(dataset: Path, raw: Path) -> int:
    """Lays a dataset out as nnU-Net v2 wants it; gives the number of training cases."""
    about = read_json(dataset / "dataset.json")
    if "labelled" in about:
        sys.exit('expected cases that are labelled in full, as nnU-Net asks, found "labelled"')
    ending = about.get("file_ending")
    if ending is None:
        gzipped = any(dataset.glob("images*/*.nii.gz"))
        ending = ".nii.gz" if gzipped else ".nii"
    names = about.get("channel_names") or about.get("modality") or {"0": "image"}
    if isinstance(names, list):
        names = {str(i): name for i, name in enumerate(names)}

    def either(*folders: str) -> dict[str, Path]:
        return next((found for f in folders if (found := stems(dataset / f, ending))), {})

    labels = either("labelsTr", "labels")
    images = either("imagesTr", "images")
    cases = place(images, labels, len(names), ending, raw / "imagesTr")
    (raw / "labelsTr").mkdir()
    for case in cases:
        if case in labels:
            link = raw / "labelsTr" / labels[case].name
            link.symlink_to(labels[case].resolve())
        else:
            for path in (raw / "imagesTr").glob(f"{case}_????{ending}"):
                path.unlink()
    kept = [case for case in cases if case in labels]
    if not kept:
        sys.exit(f"expected label maps in labelsTr or labels, found none: {dataset}")
    place(stems(dataset / "imagesTs", ending), {}, len(names), ending, raw / "imagesTs")
    described = {
        "channel_names": names,
        "labels": label_values(about["labels"]),
        "numTraining": len(kept),
        "file_ending": ending,
    }
    if "regions_class_order" in about:
        described["regions_class_order"] = about["regions_class_order"]
    write_json(raw / "dataset.json", described)
    return len(kept)


def prepare(name: str, out: Path, plans: Path | None, processes: int) -> dict:
    """nnU-Net's fingerprint, plan and preprocessing; gives the plans to train from."""
    extract_fingerprints(
        [NUMBER], num_processes=processes, check_dataset_integrity=True, verbose=False
    )
    identifier = plan_experiments([NUMBER])
    folder = out / "nnUNet_preprocessed" / name
    if plans is not None:
        given = read_json(plans)
        identifier = "crossmodPlans"
        given |= {"dataset_name": name, "plans_name": identifier}
        for key, configuration in given["configurations"].items():
            if "data_identifier" in configuration:
                configuration["data_identifier"] = f"{identifier}_{key}"
        write_json(folder / f"{identifier}.json", given)
    found = read_json(folder / f"{identifier}.json")
    if CONFIGURATION not in found["configurations"]:
        sys.exit(f"expected {CONFIGURATION} in the plans, found {list(found['configurations'])}")
    preprocess([NUMBER], identifier, (CONFIGURATION,), (processes,))
    return found


@torch.inference_mode()
def predict(trainer: nnUNetTrainer, raw: Path, into: Path, mirrored: bool) -> dict[str, float]:
    """Segments the images of imagesTs in this process; gives the time it took."""
    clock = Clock()
    into.mkdir()
    ending = trainer.dataset_json["file_ending"]
    cases: dict[str, list[str]] = {}
    for stem, path in stems(raw / "imagesTs", ending).items():
        cases.setdefault(stem[:-5], []).append(str(path))
    predictor = nnUNetPredictor(
        use_mirroring=mirrored,
        perform_everything_on_device=False,
        device=trainer.device,
        allow_tqdm=False,
    )
    predictor.manual_initialization(
        trainer.network,
        trainer.plans_manager,
        trainer.configuration_manager,
        [trainer.network.state_dict()],
        trainer.dataset_json,
        type(trainer).__name__,
        trainer.inference_allowed_mirroring_axes,
    )
    predictor.predict_from_files_sequential(
        list(cases.values()), [str(into / case) for case in cases]
    )
    return clock.read() | {"cases": len(cases)}


def fold(text: str) -> int | str:
    return text if text == "all" else int(text)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("dataset", type=Path)
    arguments.add_argument("--out", type=Path, required=True, help="a new folder")
    budget = arguments.add_mutually_exclusive_group(required=True)
    budget.add_argument("--minutes", type=float, help="of the wall clock, for training")
    budget.add_argument("--cpu-minutes", type=float, help="of processor time, for training")
    arguments.add_argument("--threads", type=int, default=1)
    arguments.add_argument("--workers", type=int, default=0, help="processes that make batches")
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--plans", type=Path, help="a plans.json to use instead of its own")
    arguments.add_argument("--fold", type=fold, default="all", help="0 to 4, or all cases")
    args = arguments.parse_args()
    name = f"Dataset{NUMBER:03}_" + re.sub(r"\W", "", args.dataset.resolve().name)
    args.out.mkdir(parents=True)
    out = args.out.resolve()
    for folder in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        os.environ[folder] = str(out / folder)
        (out / folder).mkdir()
    # In planning, threads to measure the net with; in training, workers.
    os.environ["nnUNet_n_proc_DA"] = str(args.threads)
    raw = out / "nnUNet_raw" / name

    clock = Clock()
    cases = convert(args.dataset, raw)
    plans = prepare(name, out, args.plans, args.threads)
    preparation = clock.read()

    os.environ["nnUNet_n_proc_DA"] = str(args.workers)
    torch.set_num_threads(args.threads)
    random.seed(args.seed)
    np.random.seed(args.seed)
    torch.manual_seed(args.seed)
    about = read_json(raw / "dataset.json")
    # The trainer takes the key out again.
    trained = plans | {"continue_training": False}
    trainer = Clocked(trained, CONFIGURATION, args.fold, about, torch.device("cpu"))
    by_cpu = args.cpu_minutes is not None
    seconds = 60 * (args.cpu_minutes if by_cpu else args.minutes)
    training = trainer.train_for(seconds, Clock.cpu if by_cpu else Clock.seconds, out / "log.jsonl")
    summary = {
        "peer": f"nnU-Net {version('nnunetv2')}, PyTorch {torch.__version__}",
        "threads": torch.get_num_threads(),
        "workers": args.workers,
        "allocator": allocator(),
        "seed": args.seed,
        "fold": args.fold,
        "budget": {"cpu_minutes" if by_cpu else "minutes": seconds / 60},
        "cases": cases,
        "plan": plans["configurations"][CONFIGURATION],
        "parameters": sum(p.numel() for p in trainer.network.parameters()),
        "mirrored_axes": trainer.inference_allowed_mirroring_axes,
        "preparation": preparation,
        "training": training,
    }
    write_json(out / "summary.json", summary)
    print(f"{training['steps']} steps, {training['patches_per_second']:.3f} patches a second")

    trainer.set_deep_supervision_enabled(False)
    summary["prediction"] = predict(trainer, raw, out / "pred", mirrored=True)
    summary["prediction_unmirrored"] = predict(
        trainer, raw, out / "pred_unmirrored", mirrored=False
    )
    write_json(out / "summary.json", summary)


if __name__ == "__main__":
    main()
