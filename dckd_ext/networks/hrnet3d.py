"""HRNet3D: parallel branches of several resolutions that exchange features all the way."""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F  # noqa: N812

__all__ = ["HRNet3D"]


class HRNet3D(nn.Module):
    """High-resolution network for 3D segmentation, after VoxHRNet.

    Structure and default sizes follow VoxHRNet (arXiv 2110.15601), the 3D form of HRNet (arXiv 1908.07919):
    a stem, then stages with 2, 3, ... branches, each half as fine and twice as wide as the one before.
    Affine instance norm, the padding, `stem_stride` and `refine_channels` are decisions of this project.

    Submodules for taps: `neck` makes the last feature map before the classifier `head`. It has
    `channels * (2**branches - 1)` channels on a grid of `ceil(size / stem_stride)` voxels, or, with
    refinement, `refine_channels` channels at full resolution.

    Any input size is taken: edges are padded to a multiple of `divisor` inside and the result is cropped.
    Only an input that leaves a single voxel to the coarsest branch is refused.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        channels: int = 14,
        modules: tuple[int, ...] = (1, 2),
        blocks: int = 4,
        stem_channels: tuple[int, int] = (32, 64),
        stem_stride: int = 2,
        refine_channels: int = 0,
    ) -> None:
        """Build the network.

        Args:
            in_channels: channels of the image.
            out_channels: classes, background included.
            channels: width of the finest branch; it doubles with every coarser one.
            modules: exchange modules in each stage; stage i has i + 2 branches.
            blocks: residual blocks of a branch in one exchange module.
            stem_channels: width of the first convolution and of the two bottlenecks after it.
            stem_stride: 1 or 2; stride 1 keeps detail at about eight times the multiply-adds.
            refine_channels: width of a full-resolution refinement at the end, which brings back the detail
                that stem stride 2 loses at little cost; 0 leaves it out.

        Raises:
            ValueError: if `stem_stride` is not 1 or 2, or `stem_channels[1]` is no multiple of 4.
        """
        super().__init__()
        if stem_stride not in (1, 2):
            raise ValueError(f"stem_stride must be 1 or 2, got {stem_stride}")
        if stem_channels[1] % 4:
            raise ValueError(f"stem_channels[1] must be a multiple of 4, got {stem_channels[1]}")
        widths = [channels * 2**branch for branch in range(len(modules) + 1)]
        self.divisor = stem_stride * 2 ** len(modules)
        first, wide = stem_channels
        self.stem = nn.Sequential(
            _conv_norm_relu(in_channels, first, stride=stem_stride),
            Bottleneck(first, wide),
            Bottleneck(wide, wide),
        )
        self.stages = nn.ModuleList()
        before = [wide]
        for count in modules:
            after = widths[: len(before) + 1]
            self.stages.append(Stage(before, after, count, blocks))
            before = after
        neck = Neck(before, stem_stride)
        self.neck = RefinedNeck(neck, in_channels, refine_channels) if refine_channels else neck
        self.head = nn.Conv3d(refine_channels or sum(before), out_channels, kernel_size=1)
        self.upsample = _upsample(1 if refine_channels else stem_stride)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Segment.

        Args:
            image: BCDHW.

        Returns:
            Logits, B x `out_channels` x DHW.

        Raises:
            ValueError: if `image` is not 5D or leaves a single voxel to the coarsest branch.
        """
        if image.dim() != 5:
            raise ValueError(f"HRNet3D takes images of shape BCDHW, got {list(image.shape)}")
        if not torch.jit.is_tracing() and max(image.shape[2:]) <= self.divisor:
            edge, least = self.divisor, self.divisor + 1
            raise ValueError(
                f"HRNet3D got images of {list(image.shape[2:])} voxels, a single one on its coarsest grid: "
                f"one edge must be longer than {edge}, for example {[least, edge, edge]}"
            )
        maps = [self.stem(_pad_to_multiple(image, self.divisor))]
        for stage in self.stages:
            maps = stage(maps)
        logits = self.upsample(self.head(self.neck(maps, image)))
        return _crop(logits, image, 1)


class Bottleneck(nn.Module):
    """Residual bottleneck: 1-3-1 convolutions, a quarter of the width inside."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        inner = out_channels // 4
        self.body = nn.Sequential(
            _conv_norm_relu(in_channels, inner, kernel=1),
            _conv_norm_relu(inner, inner),
            _conv_norm(inner, out_channels, kernel=1),
        )
        self.skip = (
            nn.Identity() if in_channels == out_channels else _conv_norm(in_channels, out_channels, kernel=1)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Turn BCDHW into BCDHW of the same size."""
        return F.relu(self.body(x) + self.skip(x))


class BasicBlock(nn.Module):
    """Residual block of two 3x3x3 convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_conv_norm_relu(channels, channels), _conv_norm(channels, channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Turn BCDHW into BCDHW of the same shape."""
        return F.relu(self.body(x) + x)


class Stage(nn.Module):
    """Opens one coarser branch, then runs exchange modules over all branches."""

    def __init__(self, before: list[int], after: list[int], modules: int, blocks: int) -> None:
        super().__init__()
        self.keep = nn.ModuleList(
            nn.Identity() if old == new else _conv_norm_relu(old, new)
            for old, new in zip(before, after[:-1], strict=True)
        )
        self.open = _conv_norm_relu(before[-1], after[-1], stride=2)
        self.exchanges = nn.ModuleList(Exchange(after, blocks) for _ in range(modules))

    def forward(self, maps: list[torch.Tensor]) -> list[torch.Tensor]:
        """Turn maps of n branches, finest first, into those of n + 1 branches."""
        out: list[torch.Tensor] = []
        for branch, keep in enumerate(self.keep):
            out.append(keep(maps[branch]))
        out.append(self.open(maps[-1]))
        for exchange in self.exchanges:
            out = exchange(out)
        return out


class Exchange(nn.Module):
    """Residual blocks in every branch, then each branch receives the sum over all branches."""

    def __init__(self, widths: list[int], blocks: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Sequential(*(BasicBlock(w) for _ in range(blocks))) for w in widths)
        self.fusions = nn.ModuleList(Fusion(widths, target) for target in range(len(widths)))

    def forward(self, maps: list[torch.Tensor]) -> list[torch.Tensor]:
        """Turn maps of all branches, finest first, into maps of the same shapes."""
        refined: list[torch.Tensor] = []
        for index, branch in enumerate(self.branches):
            refined.append(branch(maps[index]))
        fused: list[torch.Tensor] = []
        for fusion in self.fusions:
            fused.append(fusion(refined))
        return fused


class Fusion(nn.Module):
    """Brings the maps of all branches to the grid and width of one branch and adds them up."""

    def __init__(self, widths: list[int], target: int) -> None:
        super().__init__()
        self.target = target
        self.paths = nn.ModuleList(_path(widths, source, target) for source in range(len(widths)))

    def forward(self, maps: list[torch.Tensor]) -> torch.Tensor:
        """Fuse maps of all branches, finest first, into one map of the target branch."""
        total = maps[self.target]
        for source, path in enumerate(self.paths):
            if source != self.target:
                total = total + path(maps[source])
        return F.relu(total)


class Neck(nn.Module):
    """Fuses the maps of all branches on the finest grid: upsampling, concatenation, 1x1x1 convolution."""

    def __init__(self, widths: list[int], stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.out_channels = sum(widths)
        self.upsamples = nn.ModuleList(_upsample(2**branch) for branch in range(len(widths)))
        self.mix = _conv_norm_relu(self.out_channels, self.out_channels, kernel=1)

    def forward(self, maps: list[torch.Tensor], image: torch.Tensor) -> torch.Tensor:
        """Fuse maps of all branches into one map; `image` (unpadded) gives the size to crop to."""
        fine: list[torch.Tensor] = []
        for branch, upsample in enumerate(self.upsamples):
            fine.append(upsample(maps[branch]))
        return self.mix(_crop(torch.cat(fine, dim=1), image, self.stride))


class RefinedNeck(nn.Module):
    """Brings the fused map to full resolution and merges it with shallow features of the image (ours)."""

    def __init__(self, fuse: Neck, in_channels: int, channels: int) -> None:
        super().__init__()
        self.fuse = fuse
        self.reduce = nn.Sequential(
            _conv_norm_relu(fuse.out_channels, channels, kernel=1), _upsample(fuse.stride)
        )
        self.detail = _conv_norm_relu(in_channels, channels)
        self.merge = _conv_norm_relu(2 * channels, channels)

    def forward(self, maps: list[torch.Tensor], image: torch.Tensor) -> torch.Tensor:
        """Fuse maps of all branches and the unpadded image into one map of the image's size."""
        coarse = _crop(self.reduce(self.fuse(maps, image)), image, 1)
        return self.merge(torch.cat([coarse, self.detail(image)], dim=1))


def _path(widths: list[int], source: int, target: int) -> nn.Module:
    """From one branch to another: strided convolutions down, a 1x1x1 convolution and upsampling up."""
    if source == target:
        return nn.Identity()
    if source > target:
        return nn.Sequential(
            _conv_norm(widths[source], widths[target], kernel=1), _upsample(2 ** (source - target))
        )
    steps = [_conv_norm_relu(widths[source], widths[source], stride=2) for _ in range(target - source - 1)]
    return nn.Sequential(*steps, _conv_norm(widths[source], widths[target], stride=2))


def _conv_norm(in_channels: int, out_channels: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=False),
        nn.InstanceNorm3d(out_channels, affine=True),
    )


def _conv_norm_relu(in_channels: int, out_channels: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return _conv_norm(in_channels, out_channels, kernel, stride).append(nn.ReLU(inplace=True))


def _upsample(factor: int) -> nn.Module:
    return nn.Identity() if factor == 1 else nn.Upsample(scale_factor=factor, mode="trilinear")


def _pad_to_multiple(image: torch.Tensor, divisor: int) -> torch.Tensor:
    """Repeats the last voxels; without a branch, so that a traced network takes any size."""
    depth, height, width = image.shape[2:]
    return F.pad(image, [0, -width % divisor, 0, -height % divisor, 0, -depth % divisor], mode="replicate")


def _crop(x: torch.Tensor, image: torch.Tensor, stride: int) -> torch.Tensor:
    """Drop what the padding of `image` has added to a map of that stride."""
    depth, height, width = image.shape[2:]
    return x[
        :,
        :,
        : (depth + stride - 1) // stride,
        : (height + stride - 1) // stride,
        : (width + stride - 1) // stride,
    ]
