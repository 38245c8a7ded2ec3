"""Trains a recipe of SynSeg-Net in PyTorch and segments the test scans of the target with it.

The counterpart of `crossmod train` and `crossmod predict` on real scans: the same recipe files,
slices, patches, initial weights, losses, pool of translations, optimiser and schedule. Whatever is
drawn comes from crossmod's counter-based generator, so that at equal seeds step n of both sees the
same patches and the losses of the first steps agree to rounding. Eager, f32, on the CPU.

    python train_synseg.py synseg-small --source BSSFP --target LGE --out RUN --minutes 60 \
        --threads 1 --set plan.fit=slice --set segmentor.kind=resnet9
    crossmod evaluate RUN/pred LGE/labelsTs

Written to RUN: `log.jsonl` (a row a step, as crossmod's), `weights/*.safetensors` (named as those of a
crossmod run, in whose place `crossmod predict` takes them), `pred/*.nii.gz` (every case of
LGE/imagesTs) and `summary.json`. PyTorch can be faster with jemalloc, where it is installed; start
it as `crossmod bench` does:

    LD_PRELOAD=/usr/lib/x86_64-linux-gnu/libjemalloc.so.2 MALLOC_CONF=oversize_threshold:1,\
    background_thread:true,metadata_thp:auto,dirty_decay_ms:9000000000,muzzy_decay_ms:9000000000 \
        python train_synseg.py ...

Only what this comparison needs: MR (percentiles), `plan.fit = "slice"`, the ResNet segmentor, no
identity loss, no class weights; anything else is refused. Needs Python 3.11 or later.
"""

import argparse
import json
import sys
import time
import tomllib
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

import nets
from peer import allocator, peak_rss_mb
from philox import Rng, case_id
from slices import Sampler, Upright, prepare, prepare_labels, resized
from steps import parameters, squares

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
SHOWN_EVERY_SECONDS = 30.0


def merge(table: dict, over: dict) -> dict:
    for key, value in over.items():
        table[key] = merge(table.get(key, {}), value) if isinstance(value, dict) else value
    return table


def load_recipe(name: str, overrides: list[str]) -> dict:
    """A built-in recipe on top of its bases, then `key=value` as of crossmod's `--set`."""
    recipe: dict = {}
    base: str | None = name
    while base:
        own = tomllib.loads((RECIPES / f"{base}.toml").read_text())
        base = own.pop("base", None)
        recipe = merge(own, recipe)
    for text in overrides:
        key, value = text.split("=", 1)
        *tables, leaf = key.strip().split(".")
        at = recipe
        for table in tables:
            at = at[table]
        if leaf not in at:
            sys.exit(f"unknown key in --set {text}")
        try:
            at[leaf] = tomllib.loads(f"v = {value}")["v"]
        except tomllib.TOMLDecodeError:
            at[leaf] = value.strip()
    for key, expected, found in (
        ("kind", "synseg", recipe["kind"]),
        ("plan.fit", "slice", recipe["plan"]["fit"]),
        ("segmentor.kind", "resnet9", recipe["segmentor"]["kind"]),
        ("loss.lambda_identity", 0, recipe["loss"]["lambda_identity"]),
        ("loss.class_weights", [], recipe["loss"]["class_weights"]),
    ):
        if found != expected:
            sys.exit(f"expected {key} = {expected!r}, found {found!r}; this program has no other")
    return recipe


class Logits(nets.ResNet):
    """The ResNet without the tanh at its end."""

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(x)


def drawn(net: nn.Module, seed: int, name: str) -> nn.Module:
    """The net with weights from N(0, 0.02²) and biases of 0."""
    rng = Rng(seed, case_id(name), 0)
    with torch.no_grad():
        for p in net.parameters():
            if p.dim() == 1:
                p.zero_()
            else:
                weights = np.float32(0.02) * rng.normals(p.numel())
                p.copy_(torch.from_numpy(weights).reshape(p.shape))
    return net


def soft_dice(logits: Tensor, classes: Tensor) -> Tensor:
    """1 less the Dice of the foreground with squared denominators (DiceNorm of SynSeg-Net)."""
    p = logits.softmax(1)[:, 1:]
    g = F.one_hot(classes, logits.shape[1]).movedim(-1, 1)[:, 1:]
    both, each = (p * g).sum((0, 2, 3)), (p * p + g).sum((0, 2, 3))
    return 1 - ((2 * both + 2e-7) / (each + 1e-7)).mean()


class Pool:
    """Past translations: filled first, then each is shown itself or swapped, half the time."""

    def __init__(self, capacity: int) -> None:
        self.capacity, self.images = capacity, []

    def exchange(self, image: Tensor, rng: Rng) -> Tensor:
        if len(self.images) < self.capacity:
            self.images.append(image)
            return image
        if self.capacity == 0 or rng.units(1)[0] < 0.5:
            return image
        place = rng.below(len(self.images))
        shown, self.images[place] = self.images[place], image
        return shown


class SynSeg:
    """SynSeg-Net (doi:10.1109/TMI.2018.2876633), stepped in the order of CycleGAN's code."""

    def __init__(self, recipe: dict, classes: int) -> None:
        self.loss, self.seed = recipe["loss"], recipe["seed"]
        size, resnet = recipe["generator"], recipe["segmentor"]["resnet"]
        segmentor = nets.ResNet if recipe["segmentor"]["bounded_logits"] else Logits
        self.nets = {
            "to_target": nets.ResNet(1, size["width"], size["blocks"]),
            "to_source": nets.ResNet(1, size["width"], size["blocks"]),
            "segmentor": segmentor(classes, resnet["width"], resnet["blocks"]),
            "judge_target": nets.PatchGan(recipe["discriminator"]["width"]),
            "judge_source": nets.PatchGan(recipe["discriminator"]["width"]),
        }
        for name, net in self.nets.items():
            drawn(net, self.seed, name)
        makers = [self.nets[n] for n in ("to_target", "to_source", "segmentor")]
        self.judges = [self.nets["judge_target"], self.nets["judge_source"]]
        o = recipe["optimizer"]
        betas = (o["beta1"], o["beta2"])
        self.adams = [
            torch.optim.Adam(parameters(*of), betas=betas, eps=o["epsilon"], fused=True)
            for of in (makers, self.judges)
        ]
        self.pools = [Pool(recipe["pool"]), Pool(recipe["pool"])]

    def step(
        self, x: Tensor, classes: Tensor, y: Tensor, step: int, rate: float
    ) -> dict[str, float]:
        """Source patches x with classes, target patches y; gives the losses before weights."""
        for adam in self.adams:
            adam.param_groups[0]["lr"] = rate
            adam.zero_grad()
        self.freeze_judges(True)
        to_target, to_source = self.nets["to_target"], self.nets["to_source"]
        fake_target = to_target(x)
        back_source = to_source(fake_target)
        fake_source = to_source(y)
        back_target = to_target(fake_source)
        losses = {
            "gan_target": squares(self.judges[0](fake_target), 1.0),
            "gan_source": squares(self.judges[1](fake_source), 1.0),
            "cycle_source": F.l1_loss(back_source, x),
            "cycle_target": F.l1_loss(back_target, y),
            "segmentation": self.segmentation(self.nets["segmentor"](fake_target), classes),
        }
        kinds = {"gan": "lambda_adversarial", "cycle": "lambda_cycle"}
        weights = {n: self.loss[kinds.get(n.split("_")[0], "lambda_segmentation")] for n in losses}
        sum(weights[name] * loss for name, loss in losses.items()).backward()
        self.adams[0].step()

        self.freeze_judges(False)
        rng = Rng(self.seed, case_id("pool"), step)
        for judge, pool, real, fakes, name in (
            (self.judges[0], self.pools[0], y, fake_target, "judge_target"),
            (self.judges[1], self.pools[1], x, fake_source, "judge_source"),
        ):
            shown = torch.stack([pool.exchange(fake, rng) for fake in fakes.detach()])
            loss = (squares(judge(real), 1.0) + squares(judge(shown), 0.0)) * 0.5
            loss.backward()
            losses[name] = loss
        self.adams[1].step()
        return {name: loss.item() for name, loss in losses.items()}

    def segmentation(self, logits: Tensor, classes: Tensor) -> Tensor:
        terms = {
            "cross-entropy": [F.cross_entropy],
            "dice": [soft_dice],
            "cross-entropy-dice": [F.cross_entropy, soft_dice],
        }
        return sum(term(logits, classes) for term in terms[self.loss["segmentation"]])

    def freeze_judges(self, frozen: bool) -> None:
        """Spares the gradients to weights that the makers' step does not move."""
        for p in parameters(*self.judges):
            p.requires_grad_(not frozen)


def rate_at(done: float, recipe: dict) -> tuple[int, float]:
    """Epoch, from 1, and learning rate at a share of the training: constant, then linear to 0."""
    constant, decay = (recipe["schedule"][n + "_epochs"] for n in ("constant", "decay"))
    epoch = min(int(done * (constant + decay) + 1e-9), constant + decay - 1) + 1
    decays = min(max(epoch - constant - 1, 0), decay)
    return epoch, recipe["optimizer"]["learning_rate"] * (1 - decays / max(decay, 1))


def load_data(recipe: dict, source: Path, target: Path) -> tuple[Sampler, Sampler, list[int], int]:
    """The samplers of both domains, the label values and the side of the slices."""
    plan = recipe["plan"]
    load = round(plan["max_patch"] * plan["margin"])
    values = sorted(json.loads((source / "dataset.json").read_text())["labels"].values())

    def images(folder: Path) -> list[np.ndarray]:
        files = sorted(folder.glob("*_0000.nii.gz"))
        return [prepare(Upright(file), load, plan["percentiles"]) for file in files]

    truths = sorted((source / "labelsTr").glob("*.nii.gz"))
    labels = [prepare_labels(Upright(file), load, values) for file in truths]
    labelled = Sampler("source", images(source / "imagesTr"), labels, recipe)
    return labelled, Sampler("target", images(target / "imagesTr"), None, recipe), values, load


def train(model: SynSeg, source: Sampler, target: Sampler, recipe: dict, args) -> tuple[int, float]:
    """Trains until the budget is spent; gives the steps and the seconds."""
    step, shown = 0, 0.0
    start = time.perf_counter()
    with open(args.out / "log.jsonl", "w", encoding="ascii") as log:
        while True:
            seconds = time.perf_counter() - start
            done = step / args.steps if args.steps else seconds / (60 * args.minutes)
            if done >= 1:
                return step, seconds
            epoch, rate = rate_at(done, recipe)
            x, classes = source.batch(step, recipe["batch"])
            y, _ = target.batch(step, recipe["batch"])
            losses = model.step(x, classes, y, step, rate)
            row = {"step": step, "epoch": epoch, "learning_rate": rate, "seconds": seconds}
            log.write(json.dumps({**row, "losses": losses}) + "\n")
            step += 1
            if seconds >= shown:
                figures = "  ".join(f"{name} {loss:.3f}" for name, loss in losses.items())
                print(f"{100 * done:3.0f}%  {seconds:.0f} s  step {step}  {figures}", flush=True)
                shown = seconds + SHOWN_EVERY_SECONDS


@torch.inference_mode()
def predict(segmentor: nn.Module, recipe: dict, values: list[int], load: int, args) -> None:
    """Whole slices; probabilities are brought back to the scan's size, then the classes chosen."""
    (args.out / "pred").mkdir(exist_ok=True)
    for file in sorted((args.target / "imagesTs").glob("*_0000.nii.gz")):
        scan = Upright(file)
        slices = torch.from_numpy(prepare(scan, load, recipe["plan"]["percentiles"]))[:, None]
        # The net takes sides of a multiple of 4: the border is repeated about the middle.
        side = load + -load % 4
        before = (side + 1) // 2 - (load + 1) // 2
        after = side - load - before
        padded = F.pad(slices, (before, after, before, after), mode="replicate")
        inside = (..., slice(before, before + load), slice(before, before + load))
        shares = torch.cat([segmentor(one[None]).softmax(1)[inside] for one in padded])
        own_size = scan.slices().shape[1:]
        classes = resized(shares.double(), own_size).float().argmax(1).numpy()
        name = file.name.replace("_0000.nii.gz", ".nii.gz")
        scan.save_labels(np.array(values)[classes], args.out / "pred" / name)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("recipe", help="a recipe of recipes/, such as synseg-small")
    arguments.add_argument("--source", type=Path, required=True, help="the labelled dataset")
    arguments.add_argument("--target", type=Path, required=True, help="the dataset to be segmented")
    arguments.add_argument("--out", type=Path, required=True, help="a new folder")
    arguments.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    budget = arguments.add_mutually_exclusive_group(required=True)
    budget.add_argument("--steps", type=int)
    budget.add_argument("--minutes", type=float)
    arguments.add_argument("--threads", type=int, default=1)
    args = arguments.parse_args()
    torch.set_num_threads(args.threads)
    recipe = load_recipe(args.recipe, args.set)
    args.out.mkdir(parents=True)
    source, target, values, load = load_data(recipe, args.source, args.target)
    counts = f"{len(source.images)} slices of the source, {len(target.images)} of the target"
    print(f"{counts}, {load} pixels across")
    model = SynSeg(recipe, len(values))

    steps, seconds = train(model, source, target, recipe, args)
    (args.out / "weights").mkdir()
    for name, prefix in (("to_target", ""), ("to_source", ""), ("segmentor", "ResNet.")):
        arrays = {prefix + key: value for key, value in model.nets[name].state_dict().items()}
        save_file(arrays, args.out / "weights" / f"{name}.safetensors")
    summary = {
        "steps": steps,
        "seconds": seconds,
        "steps_per_second": steps / seconds,
        "peak_rss_mb": peak_rss_mb(),
        "peer": f"PyTorch {torch.__version__}",
        "threads": torch.get_num_threads(),
        "allocator": allocator(),
        "recipe": recipe,
    }
    (args.out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    print(f"{steps} steps in {seconds:.0f} s, {steps / seconds:.3f} a second")
    predict(model.nets["segmentor"], recipe, values, load, args)


if __name__ == "__main__":
    main()
