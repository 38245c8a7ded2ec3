"""The operations that `crossmod bench ops` compares, as one would write them in PyTorch."""

import math
from typing import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Op:
    """An operation on its own inputs; `leaves` are the tensors that get gradients."""

    def __init__(self, forward: Callable[[], Tensor], leaves: list[Tensor]) -> None:
        self.forward = forward
        self.leaves = leaves
        self.gradient: Tensor | None = None

    def of_pass(self, name: str) -> Callable[[], None]:
        return {"fwd": self.once, "fwd+bwd": self.both}[name]

    @torch.no_grad()
    def once(self) -> None:
        self.forward()

    def both(self) -> None:
        for leaf in self.leaves:
            leaf.grad = None
        result = self.forward()
        if self.gradient is None:
            self.gradient = torch.ones_like(result)
        result.backward(self.gradient)


class AdamStep:
    """One update of parameters of the given numbers of elements, gradients as they are."""

    def __init__(self, g: dict) -> None:
        self.parameters = [nn.Parameter(torch.randn(n)) for n in g["tensors"]]
        for parameter in self.parameters:
            parameter.grad = torch.randn_like(parameter)
        self.adam = torch.optim.Adam(self.parameters)

    def of_pass(self, name: str) -> Callable[[], None]:
        return {"step": self.adam.step}[name]


def build(g: dict) -> "Op | AdamStep":
    return KINDS[g["kind"]](g)


def leaf(batch: int, channels: int, size: list[int]) -> Tensor:
    return torch.randn(batch, channels, *size, requires_grad=True)


def of_module(module: nn.Module, x: Tensor) -> Op:
    return Op(lambda: module(x), [x, *module.parameters()])


def conv(g: dict) -> Op:
    dimensions = len(g["size"])
    arguments = (g["in_channels"], g["out_channels"], tuple(g["kernel"]))
    if g["transposed"]:
        kind = nn.ConvTranspose2d if dimensions == 2 else nn.ConvTranspose3d
        module = kind(
            *arguments, g["stride"], g["padding"], output_padding=g["output_padding"]
        )
    elif g["mode"] == "reflect":
        kind = nn.Conv2d if dimensions == 2 else nn.Conv3d
        pad = nn.ReflectionPad2d if dimensions == 2 else nn.ReflectionPad3d
        module = nn.Sequential(pad(g["padding"]), kind(*arguments, g["stride"]))
    else:
        kind = nn.Conv2d if dimensions == 2 else nn.Conv3d
        module = kind(*arguments, g["stride"], g["padding"])
    return of_module(module, leaf(g["batch"], g["in_channels"], g["size"]))


def norm(g: dict) -> Op:
    kind = nn.InstanceNorm2d if len(g["size"]) == 2 else nn.InstanceNorm3d
    slope = g["slope"]
    activation = nn.LeakyReLU(slope, inplace=True) if slope else nn.ReLU(inplace=True)
    module = nn.Sequential(kind(g["channels"], affine=g["affine"]), activation)
    return of_module(module, leaf(g["batch"], g["channels"], g["size"]))


def upsample(g: dict) -> Op:
    linear = {2: "bilinear", 3: "trilinear"}[len(g["size"])]
    mode = {"nearest": "nearest", "linear": linear}[g["mode"]]
    x = leaf(g["batch"], g["channels"], g["size"])
    return Op(lambda: F.interpolate(x, scale_factor=2, mode=mode), [x])


def max_pool(g: dict) -> Op:
    pool = F.max_pool2d if len(g["size"]) == 2 else F.max_pool3d
    x = leaf(g["batch"], g["channels"], g["size"])
    return Op(lambda: pool(x, 2), [x])


def cross_entropy_dice(g: dict) -> Op:
    """The sum of cross-entropy and nnU-Net's soft Dice: per sample, without the background."""
    logits = leaf(g["batch"], g["classes"], g["size"])
    truth = torch.randint(0, g["classes"], (g["batch"], *g["size"]))
    axes = list(range(2, logits.dim()))

    def loss() -> Tensor:
        p = torch.softmax(logits, 1)[:, 1:]
        with torch.no_grad():
            t = torch.zeros_like(logits).scatter_(1, truth.unsqueeze(1), 1.0)[:, 1:]
            sizes = t.sum(axes)
        dice = (2.0 * (p * t).sum(axes) + 1e-5) / (p.sum(axes) + sizes + 1e-5)
        return F.cross_entropy(logits, truth) + 1.0 - dice.mean()

    return Op(loss, [logits])


def ssim(g: dict) -> Op:
    """Mean structural similarity (Wang et al., doi:10.1109/TIP.2003.819861) of images in [0, 1].

    The five local moments come from depthwise convolutions by a Gaussian, rows then columns, over
    the places where the window lies inside the image.
    """
    x = torch.rand(g["batch"], g["channels"], *g["size"], requires_grad=True)
    y = torch.rand(g["batch"], g["channels"], *g["size"])
    window, sigma, channels = g["window"], g["sigma"], g["channels"]
    weights = [math.exp(-0.5 * ((i - window // 2) / sigma) ** 2) for i in range(window)]
    row = torch.tensor([w / sum(weights) for w in weights]).repeat(5 * channels, 1, 1, 1)
    column = row.transpose(2, 3).contiguous()
    c1, c2 = 0.01**2, 0.03**2

    def similarity() -> Tensor:
        moments = torch.cat([x, y, x * x, y * y, x * y], 1)
        moments = F.conv2d(F.conv2d(moments, row, groups=5 * channels), column, groups=5 * channels)
        mx, my, xx, yy, xy = moments.chunk(5, 1)
        numerator = (2 * mx * my + c1) * (2 * (xy - mx * my) + c2)
        denominator = (mx * mx + my * my + c1) * (xx - mx * mx + yy - my * my + c2)
        return (numerator / denominator).mean()

    return Op(similarity, [x])


KINDS: dict[str, Callable[[dict], "Op | AdamStep"]] = {
    "conv": conv,
    "norm": norm,
    "upsample": upsample,
    "max_pool": max_pool,
    "cross_entropy_dice": cross_entropy_dice,
    "ssim": ssim,
    "adam": AdamStep,
}
