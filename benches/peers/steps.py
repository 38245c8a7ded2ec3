"""Whole training steps of crossmod in PyTorch, from the same weights and inputs, and inference."""

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

import nets

Losses = dict[str, float]


def build(config: dict) -> "SynSeg | UNet3d | Planned":
    """What the configuration describes; in f64 where it says `"double": true`."""
    kinds = {"synseg": SynSeg, "unet3d": UNet3d, "planned": Planned}
    training = kinds[config["kind"]](config)
    if config.get("double"):
        training.double()
    return training


def parameters(*of: nn.Module) -> list[nn.Parameter]:
    return [p for net in of for p in net.parameters()]


class Training:
    """Nets, inputs by name, and the optimisers that `start` makes."""

    nets: nn.Module
    inputs: dict[str, Tensor]

    def start(self) -> None:
        raise NotImplementedError

    def load(self, weights: str, inputs: str) -> None:
        """Starts anew from files: weights as a state dict, inputs as f32 of the shapes held."""
        self.nets.load_state_dict(load_file(weights))
        given = load_file(inputs)
        for name, held in self.inputs.items():
            self.inputs[name] = given[name].to(held).reshape(held.shape)
        self.start()

    def double(self) -> None:
        """Computes in f64 from here on."""
        self.nets.double()
        for name, held in self.inputs.items():
            if held.is_floating_point():
                self.inputs[name] = held.double()
        self.start()


class SynSeg(Training):
    """The step of SynSeg-Net (doi:10.1109/TMI.2018.2876633) in the order of CycleGAN's code.

    Batch 1. Least-squares adversarial losses, cycle weight 10, cross-entropy of the segmentation
    of the translated image, which reaches the translator. The pool of past translations is left
    out: until it holds its 50 images it gives back what it is given.
    """

    def __init__(self, config: dict) -> None:
        width, blocks, classes = config["width"], config["blocks"], config["classes"]
        self.to_target = nets.ResNet(1, width, blocks)
        self.to_source = nets.ResNet(1, width, blocks)
        self.segmentor = nets.ResNet(classes, width, blocks)
        self.judge_target = nets.PatchGan(width)
        self.judge_source = nets.PatchGan(width)
        names = ("to_target", "to_source", "segmentor", "judge_target", "judge_source")
        self.nets = nn.ModuleDict({name: getattr(self, name) for name in names})
        size = config["size"]
        self.inputs = {
            "source": torch.rand(1, 1, *size) * 2 - 1,
            "target": torch.rand(1, 1, *size) * 2 - 1,
            "classes": torch.randint(0, classes, (1, *size)),
        }
        self.start()

    def start(self) -> None:
        adam = {"lr": 2e-4, "betas": (0.5, 0.999)}
        makers = parameters(self.to_target, self.to_source, self.segmentor)
        self.judges = parameters(self.judge_target, self.judge_source)
        self.adam_makers = torch.optim.Adam(makers, **adam)
        self.adam_judges = torch.optim.Adam(self.judges, **adam)

    def step(self) -> Losses:
        source, target, classes = (self.inputs[n] for n in ("source", "target", "classes"))
        fake_target = self.to_target(source)
        back_source = self.to_source(fake_target)
        fake_source = self.to_source(target)
        back_target = self.to_target(fake_source)
        self.freeze_judges(True)
        losses = {
            "gan_target": squares(self.judge_target(fake_target), 1.0),
            "gan_source": squares(self.judge_source(fake_source), 1.0),
            "cycle_source": F.l1_loss(back_source, source),
            "cycle_target": F.l1_loss(back_target, target),
            "segmentation": F.cross_entropy(self.segmentor(fake_target), classes),
        }
        weights = {"cycle_source": 10.0, "cycle_target": 10.0}
        total = sum(weights.get(name, 1.0) * loss for name, loss in losses.items())
        self.adam_makers.zero_grad()
        total.backward()
        self.adam_makers.step()

        self.freeze_judges(False)
        self.adam_judges.zero_grad()
        for name, judge, real, fake in (
            ("judge_target", self.judge_target, target, fake_target),
            ("judge_source", self.judge_source, source, fake_source),
        ):
            loss = (squares(judge(real), 1.0) + squares(judge(fake.detach()), 0.0)) * 0.5
            loss.backward()
            losses[name] = loss
        self.adam_judges.step()
        return {name: loss.item() for name, loss in losses.items()}

    def freeze_judges(self, frozen: bool) -> None:
        """Spares the gradients to weights that the makers' step does not move."""
        for parameter in self.judges:
            parameter.requires_grad_(not frozen)

    @torch.inference_mode()
    def infer(self) -> None:
        """The segmentation of one image of the target."""
        self.segmentor(self.inputs["target"])


def squares(scores: Tensor, goal: float) -> Tensor:
    return (scores - goal).square().mean()


class UNet3d(Training):
    """Cross-entropy of a 3-D U-Net; SGD 0.01 with Nesterov momentum 0.99 as nnU-Net. Batch 1."""

    def __init__(self, config: dict) -> None:
        size, classes = config["size"], config["classes"]
        self.nets = nets.UNet3d(config["features"], classes)
        self.inputs = {
            "image": torch.randn(1, 1, *size),
            "classes": torch.randint(0, classes, (1, *size)),
        }
        self.start()

    def start(self) -> None:
        self.sgd = torch.optim.SGD(self.nets.parameters(), 0.01, momentum=0.99, nesterov=True)

    def step(self) -> Losses:
        loss = F.cross_entropy(self.nets(self.inputs["image"]), self.inputs["classes"])
        self.sgd.zero_grad()
        loss.backward()
        self.sgd.step()
        return {"cross_entropy": loss.item()}

    @torch.inference_mode()
    def infer(self) -> None:
        self.nets(self.inputs["image"])


class Planned(UNet3d):
    """Cross-entropy plus Dice of nnU-Net's net at every supervised size, halving the weight."""

    def __init__(self, config: dict) -> None:
        size, self.classes = config["size"], config["classes"]
        self.nets = nets.PlannedNet(config["features"], self.classes)
        self.inputs = {
            "image": torch.randn(1, 1, *size),
            "classes": torch.randint(0, self.classes, (1, *size)),
        }
        self.start()

    def loss(self, logits: Tensor, truth: Tensor) -> Tensor:
        p = logits.softmax(1)
        hot = torch.zeros_like(p).scatter_(1, truth[:, None], 1)[:, 1:]
        axes = (2, 3, 4)
        both, size = (p[:, 1:] * hot).sum(axes), p[:, 1:].sum(axes) + hot.sum(axes)
        dice = ((2 * both + 1e-5) / (size + 1e-5)).mean()
        return F.cross_entropy(logits, truth) + 1 - dice

    def step(self) -> Losses:
        self.nets.train()
        loss, weights = 0, 0
        for number, logits in enumerate(self.nets.deep(self.inputs["image"])):
            step = 2**number
            truth = self.inputs["classes"][:, step // 2 :: step, step // 2 :: step, step // 2 :: step]
            loss = loss + 0.5**number * self.loss(logits, truth)
            weights += 0.5**number
        loss = loss / weights
        self.sgd.zero_grad()
        loss.backward()
        self.sgd.step()
        return {"segmentation": loss.item()}

    @torch.inference_mode()
    def infer(self) -> None:
        self.nets.eval()
        self.nets(self.inputs["image"])
