"""The nets of crossmod in PyTorch, with its names of parameters, so that weights can be exchanged.

A state dict of one of these has the names and shapes of the safetensors files that crossmod writes.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def norm_relu(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.InstanceNorm2d(channels), nn.ReLU(inplace=True))


def reflected(channels_in: int, channels_out: int, size: int) -> nn.Conv2d:
    """A convolution that keeps the size, its padding mirrored."""
    return nn.Conv2d(channels_in, channels_out, size, padding=size // 2, padding_mode="reflect")


class ResBlock(nn.Module):
    """x + norm(conv(relu(norm(conv(x)))))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = reflected(channels, channels, 3)
        self.second = reflected(channels, channels, 3)
        self.norms = nn.ModuleList([norm_relu(channels), nn.InstanceNorm2d(channels)])

    def forward(self, x: Tensor) -> Tensor:
        return x + self.norms[1](self.second(self.norms[0](self.first(x))))


class ResNet(nn.Module):
    """CycleGAN's ResNet generator (arXiv:1703.10593, section 7.2), ending in tanh."""

    def __init__(self, channels_out: int, width: int, blocks: int) -> None:
        super().__init__()
        w = width
        self.stem = reflected(1, w, 7)
        self.down = nn.ModuleList(nn.Conv2d(c, 2 * c, 3, 2, 1) for c in (w, 2 * w))
        self.blocks = nn.ModuleList(ResBlock(4 * w) for _ in range(blocks))
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(c, c // 2, 3, 2, 1, output_padding=1) for c in (4 * w, 2 * w)
        )
        self.head = reflected(w, channels_out, 7)
        self.norms = nn.ModuleList(norm_relu(c) for c in (w, 2 * w, 4 * w, 2 * w, w))

    def logits(self, x: Tensor) -> Tensor:
        """What the tanh is applied to."""
        x = self.norms[0](self.stem(x))
        for conv, norm in zip(self.down, self.norms[1:3]):
            x = norm(conv(x))
        for block in self.blocks:
            x = block(x)
        for conv, norm in zip(self.up, self.norms[3:]):
            x = norm(conv(x))
        return self.head(x)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.logits(x))


class PatchGan(nn.Module):
    """The 70 x 70 discriminator (arXiv:1611.07004): 4 x 4 convolutions, LeakyReLU 0.2."""

    def __init__(self, width: int) -> None:
        super().__init__()
        w = width
        self.first = nn.Conv2d(1, w, 4, 2, 1)
        self.middle = nn.ModuleList(
            nn.Conv2d(c, 2 * c, 4, stride, 1) for c, stride in ((w, 2), (2 * w, 2), (4 * w, 1))
        )
        self.last = nn.Conv2d(8 * w, 1, 4, 1, 1)
        self.norms = nn.ModuleList(nn.InstanceNorm2d(c) for c in (2 * w, 4 * w, 8 * w))

    def forward(self, x: Tensor) -> Tensor:
        x = F.leaky_relu(self.first(x), 0.2, inplace=True)
        for conv, norm in zip(self.middle, self.norms):
            x = F.leaky_relu(norm(conv(x)), 0.2, inplace=True)
        return self.last(x)


class ConvNorm(nn.Module):
    """A 3 x 3 x 3 convolution, instance norm with scale and shift, LeakyReLU 0.01."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(channels_in, channels_out, 3, padding=1)
        self.gamma = nn.Parameter(torch.ones(channels_out))
        self.beta = nn.Parameter(torch.zeros(channels_out))

    def forward(self, x: Tensor) -> Tensor:
        x = F.instance_norm(self.conv(x), weight=self.gamma, bias=self.beta)
        return F.leaky_relu(x, 0.01, inplace=True)


class Level(nn.Module):
    """Two convolutions at one resolution."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.first = ConvNorm(channels_in, channels_out)
        self.second = ConvNorm(channels_out, channels_out)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x))


class UNet3d(nn.Module):
    """A 3-D U-Net: max pool 2 down, nearest x 2 up, skips joined behind what comes from below."""

    def __init__(self, features: list[int], classes: int) -> None:
        super().__init__()
        below = [1, *features]
        self.encoder = nn.ModuleList(Level(i, o) for i, o in zip(below, features))
        pairs = list(zip(features, features[1:]))[::-1]
        self.decoder = nn.ModuleList(Level(high + low, high) for high, low in pairs)
        self.head = nn.Conv3d(features[0], classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for number, level in enumerate(self.encoder):
            x = level(F.max_pool3d(x, 2) if number else x)
            skips.append(x)
        for level, skip in zip(self.decoder, skips[-2::-1]):
            x = level(torch.cat([F.interpolate(x, scale_factor=2), skip], 1))
        return self.head(x)


class PlannedConv(nn.Module):
    """A strided 3 x 3 x 3 convolution with what follows it, named as crossmod names it."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.Conv = nn.Module()
        self.Conv.conv = nn.Conv3d(channels_in, channels_out, 3, stride, padding=1)
        self.Conv.affine = nn.Module()
        self.Conv.affine.gamma = nn.Parameter(torch.ones(channels_out))
        self.Conv.affine.beta = nn.Parameter(torch.zeros(channels_out))

    def forward(self, x: Tensor) -> Tensor:
        affine = self.Conv.affine
        x = F.instance_norm(self.Conv.conv(x), weight=affine.gamma, bias=affine.beta)
        return F.leaky_relu(x, 0.01, inplace=True)


def planned_stage(channels_in: int, channels_out: int, stride: int) -> nn.Module:
    stage = nn.Module()
    first = PlannedConv(channels_in, channels_out, stride)
    stage.blocks = nn.ModuleList([first, PlannedConv(channels_out, channels_out, 1)])
    return stage


class PlannedNet(nn.Module):
    """nnU-Net's plain-conv U-Net of volumes: strided down, transposed up, deep supervision."""

    def __init__(self, features: list[int], classes: int) -> None:
        super().__init__()
        below = [1, *features]
        self.encoder = nn.ModuleList(
            planned_stage(i, o, 2 if number else 1)
            for number, (i, o) in enumerate(zip(below, features))
        )
        self.decoder = nn.ModuleList()
        for low, high in zip(features[:0:-1], features[-2::-1]):
            rise = nn.Module()
            rise.up = nn.ConvTranspose3d(low, high, 2, 2)
            rise.stage = planned_stage(2 * high, high, 1)
            self.decoder.append(rise)
        # Of the coarsest maps no logits are made; nnU-Net gives them no weight.
        supervised = features[: max(1, len(features) - 2)]
        self.heads = nn.ModuleList(nn.Conv3d(f, classes, 1) for f in supervised)

    def deep(self, x: Tensor) -> list[Tensor]:
        """Logits, the finest first."""
        skips = []
        for stage in self.encoder:
            for block in stage.blocks:
                x = block(x)
            skips.append(x)
        maps = []
        for rise, skip in zip(self.decoder, skips[-2::-1]):
            x = torch.cat([rise.up(x), skip], 1)
            for block in rise.stage.blocks:
                x = block(x)
            maps.append(x)
        heads = self.heads if self.training else self.heads[:1]
        return [head(x) for head, x in zip(heads, maps[::-1])]

    def forward(self, x: Tensor) -> Tensor:
        return self.deep(x)[0]
