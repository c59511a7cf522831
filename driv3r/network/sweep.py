"""Motion and depth by matching: hypotheses are swept and voted for by what the last image shows.

Each camera's features are correlated with those of its last image, all places with all places (as
RAFT, Teed & Deng 2020, section 3.2). A hypothesis of ego motion and depth says where in the last
image a cell of this one was; the correlation there is its evidence (plane sweep, Collins 1996).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from driv3r.network.blocks import ConvBlock, silence
from driv3r.network.inputs import Inputs

STRIDE = 8
SPEEDS_MPS = (-1.0, *(0.8 * i for i in range(20)), *(16 + 1.5 * i for i in range(12)))
YAW_RATES = (-0.5, -0.25, -0.12, -0.05, 0.0, 0.05, 0.12, 0.25, 0.5)
FINE_SPEEDS_MPS = (-0.9, -0.45, -0.2, 0.0, 0.2, 0.45, 0.9)
FINE_YAW_RATES = (-0.05, -0.02, 0.0, 0.02, 0.05)
DEPTH_RATIOS = tuple(-1.2 + 0.15 * i for i in range(17))  # logarithms
NEAREST_M = 0.1
PLAUSIBLE = (4.0, 0.4)  # m/s^2 and rad/s^2: scale of how a car's speed and yaw rate change


@dataclass(frozen=True, eq=False)
class Lenses:
    """Cells of every camera: rays with z = 1, in the camera's frame, and what places them."""

    rays_cam: Float[Tensor, "b v n 3"]
    K: Float[Tensor, "b v 3 3"]
    ego_T_cam: Float[Tensor, "b v 4 4"]
    size_hw: tuple[int, int]

    def thin(self, step: int) -> "Lenses":
        """Every `step`-th cell of every `step`-th row."""
        rays_cam = thin(self.rays_cam, self.size_hw, step, -2)
        return Lenses(rays_cam, self.K, self.ego_T_cam, self.size_hw)


def thin(x: Tensor, size_hw: tuple[int, int], step: int, axis: int) -> Tensor:
    """Every `step`-th cell and row of the flattened grid along a negative `axis`."""
    cells = x.unflatten(axis, (size_hw[0] // STRIDE, size_hw[1] // STRIDE))
    rows, columns = axis - 1, axis
    keep = [torch.arange(0, cells.shape[i], step, device=x.device) for i in (rows, columns)]
    picked = cells.index_select(rows, keep[0]).index_select(columns, keep[1])
    return picked.flatten(rows, columns)


def make_lenses(inputs: Inputs) -> Lenses:
    """Rays through the centres of the cells at stride 8."""
    h, w = inputs.images.shape[-2:]
    K = inputs.K
    y, x = (
        torch.arange(n // STRIDE, device=K.device, dtype=K.dtype) * STRIDE + STRIDE / 2
        for n in (h, w)
    )
    v, u = (grid.flatten() for grid in torch.meshgrid(y, x, indexing="ij"))
    across = (u - K[..., 0, 2, None]) / K[..., 0, 0, None]
    down = (v - K[..., 1, 2, None]) / K[..., 1, 1, None]
    rays_cam = torch.stack([across, down, torch.ones_like(across)], dim=-1)
    return Lenses(rays_cam, K, inputs.ego_T_cam, (h, w))


def drive(
    speed_mps: Float[Tensor, "*s"], yaw_rate: Float[Tensor, "*s"], gap_s: Float[Tensor, "*s"]
) -> Float[Tensor, "*s 4 4"]:
    """last_T_ego of a car on a circle: the chord lies at half of the turn."""
    angle, chord_m = yaw_rate * gap_s, speed_mps * gap_s
    zero, one = torch.zeros_like(angle), torch.ones_like(angle)
    cos, sin = angle.cos(), angle.sin()
    rows = [
        torch.stack([cos, -sin, zero, chord_m * (angle / 2).cos()], -1),
        torch.stack([sin, cos, zero, chord_m * (angle / 2).sin()], -1),
        torch.stack([zero, zero, one, zero], -1),
        torch.stack([zero, zero, zero, one], -1),
    ]
    return torch.stack(rows, -2)


def look_back(
    lenses: Lenses, last_T_ego: Float[Tensor, "b t #k 4 4"], depth_m: Float[Tensor, "b t v n #k"]
) -> Float[Tensor, "b t v n k 2"]:
    """Pixel (u, v) in the last image of each cell at each of k motions or depths.

    Motions and depths go in pairs, or one motion with k depths, or k motions with one depth.
    What lies behind the camera goes far outside of the image.
    """
    ego_T_cam = lenses.ego_T_cam[:, None, :, None]
    turn, place_m = ego_T_cam[..., :3, :3], ego_T_cam[..., :3, 3]
    motion = last_T_ego[:, :, None]
    back = turn.transpose(-1, -2)
    last_R_cam = back @ motion[..., :3, :3] @ turn
    moved_m = (motion[..., :3, :3] @ place_m[..., None])[..., 0] + motion[..., :3, 3] - place_m
    shift_m = (back @ moved_m[..., None])[..., 0]
    image_R_cam = lenses.K[:, None, :, None] @ last_R_cam
    shift = (lenses.K[:, None, :, None] @ shift_m[..., None])[..., 0]
    rays = torch.einsum("btvkij,bvnj->btvnki", image_R_cam, lenses.rays_cam)
    points = rays * depth_m[..., None] + shift[:, :, :, None]
    z = points[..., 2:]
    return torch.where(z > NEAREST_M, points[..., :2] / z.clamp(min=NEAREST_M), -1e4)


def read_volume(
    volume: Float[Tensor, "b t v n y x"], pixels: Float[Tensor, "b t v n k 2"]
) -> Float[Tensor, "b t v n k"]:
    """The correlation of each cell at k pixels of the last image; 0 outside of it."""
    y, x = volume.shape[-2:]
    size = pixels.new_tensor([x * STRIDE, y * STRIDE])
    grid = (pixels / size * 2 - 1).clamp(-9, 9).flatten(0, 3)[:, None]
    read = F.grid_sample(volume.flatten(0, 3)[:, None], grid, align_corners=False)
    return read[:, 0, 0].unflatten(0, volume.shape[:4])


def exact(like: Tensor) -> torch.autocast:
    """No autocast: half a pixel is lost where places are reckoned in bf16."""
    return torch.autocast(like.device.type, enabled=False)


class Matcher(nn.Module):
    """Unit features of single images at stride 8, and their correlation with the last ones."""

    def __init__(self, channels: int = 32):
        super().__init__()
        self.tower = nn.Sequential(
            ConvBlock(3, 24, 2), ConvBlock(24, 48, 2), ConvBlock(48, 64, 2), ConvBlock(64, 64)
        )
        self.out = nn.Conv2d(64, channels, 1)
        self.sharpness = nn.Parameter(torch.tensor(2.0))

    def forward(self, images: Float[Tensor, "b t v 3 h w"]) -> Float[Tensor, "b t v c y x"]:
        """Features."""
        maps = self.out(self.tower(images.flatten(0, 2))).float()
        return F.normalize(maps, dim=1).unflatten(0, images.shape[:3])

    def correlate(
        self, now: Float[Tensor, "b t v c y x"], last: Float[Tensor, "b t v c y x"]
    ) -> Float[Tensor, "b t v n y x"]:
        """Each cell now with each place then, less the cell's mean, so that 0 says nothing."""
        with exact(now):
            volume = torch.einsum("btvcn,btvcm->btvnm", now.flatten(-2), last.flatten(-2))
        volume = (volume - volume.mean(-1, keepdim=True)) * self.sharpness.exp()
        return volume.unflatten(-1, now.shape[-2:])


class EgoSweep(nn.Module):
    """Speed and yaw rate that the cells of all cameras agree on, coarse then fine.

    Each cell's evidence is a distribution over the hypotheses; they are multiplied, with weights
    from the tokens, so that sky, moving things and bare walls abstain. What was found a frame ago
    makes hypotheses that no car could have come to less likely (Laplace, scales PLAUSIBLE).
    """

    def __init__(self, width: int):
        super().__init__()
        self.weight = nn.Linear(width, 2)
        nn.init.constant_(self.weight.bias, -3.0)

    def forward(
        self,
        tokens: Float[Tensor, "b t v m c"],
        volume: Float[Tensor, "b t v n y x"],
        depth_m: Float[Tensor, "b t v n"],
        lenses: Lenses,
        gap_s: Float[Tensor, "b t"],
        before: Float[Tensor, "b 3"],
    ) -> tuple[Float[Tensor, "b t 2"], Float[Tensor, "b t k"], Float[Tensor, "b 3"]]:
        """(speed, yaw rate), the coarse hypotheses' log probabilities, and the next `before`.

        `before` is the rate of a frame ago and 1, or zeros where there is none.
        """
        weights = self.weight(tokens).float().sigmoid()
        with exact(volume):
            return self._sweep(weights, volume, depth_m, lenses, gap_s, before)

    def _sweep(self, weights, volume, depth_m, lenses, gap_s, before):
        step = round((depth_m.shape[-1] / weights.shape[-2]) ** 0.5)
        volume = thin(volume.flatten(-2).transpose(-1, -2), lenses.size_hw, step, -1)
        volume = volume.transpose(-1, -2).unflatten(-1, (-1, lenses.size_hw[1] // STRIDE))
        depth_m = thin(depth_m, lenses.size_hw, step, -1)
        lenses = lenses.thin(step)
        rates = hypotheses(SPEEDS_MPS, YAW_RATES, depth_m).expand(*gap_s.shape, -1, -1)
        votes = count_votes(rates, weights[..., 0], volume, depth_m, lenses, gap_s)
        best, chances, before = follow(votes, rates, gap_s, before)
        fine = best.detach()[..., None, :] + hypotheses(FINE_SPEEDS_MPS, FINE_YAW_RATES, depth_m)
        votes = count_votes(fine, weights[..., 1], volume, depth_m, lenses, gap_s)
        best = torch.einsum("btk,btki->bti", votes.softmax(-1), fine)
        return best, chances, before


def count_votes(
    rates: Float[Tensor, "b t k 2"],
    weights: Float[Tensor, "b t v n"],
    volume: Float[Tensor, "b t v n y x"],
    depth_m: Float[Tensor, "b t v n"],
    lenses: Lenses,
    gap_s: Float[Tensor, "b t"],
) -> Float[Tensor, "b t k"]:
    """Weighted sum of all cells' log evidence for each hypothesis."""
    last_T_ego = drive(rates[..., 0], rates[..., 1], gap_s[..., None].expand(rates.shape[:-1]))
    evidence = read_volume(volume, look_back(lenses, last_T_ego, depth_m[..., None]))
    return torch.einsum("btvn,btvnk->btk", weights, evidence.log_softmax(-1))


def follow(
    votes: Float[Tensor, "b t k"],
    rates: Float[Tensor, "b t k 2"],
    gap_s: Float[Tensor, "b t"],
    before: Float[Tensor, "b 3"],
) -> tuple[Float[Tensor, "b t 2"], Float[Tensor, "b t k"], Float[Tensor, "b 3"]]:
    """Mean rate and log chances of each frame given the one before, and the next `before`."""
    best, chances = [], []
    for t in range(votes.shape[1]):
        most = (gap_s[:, t, None, None] * votes.new_tensor(PLAUSIBLE)).clamp(min=1e-3)
        strange = ((rates[:, t] - before[:, None, :2]).abs() / most).sum(-1)
        chances.append((votes[:, t] - before[:, 2:] * strange).log_softmax(-1))
        best.append(torch.einsum("bk,bki->bi", chances[-1].exp(), rates[:, t]))
        before = torch.cat([best[-1].detach(), (gap_s[:, t, None] > 0).to(votes)], dim=-1)
    return torch.stack(best, 1), torch.stack(chances, 1), before


def hypotheses(
    speeds_mps: tuple[float, ...], yaw_rates: tuple[float, ...], like: Tensor
) -> Float[Tensor, "h 2"]:
    """All pairs, speeds outermost."""
    return torch.cartesian_prod(like.new_tensor(speeds_mps), like.new_tensor(yaw_rates))


class DepthSweep(nn.Module):
    """Features of how well each of a ladder of depths is borne out by the last image."""

    def __init__(self, channels: int):
        super().__init__()
        self.mix = ConvBlock(channels + len(DEPTH_RATIOS) + 1, channels)
        self.out = nn.Conv2d(channels, channels, 3, padding=1)
        silence(self.out)

    def forward(
        self,
        x: Float[Tensor, "b t v c y x"],
        volume: Float[Tensor, "b t v n y x"],
        depth_m: Float[Tensor, "b t v n"],
        lenses: Lenses,
        last_T_ego: Float[Tensor, "b t 4 4"],
        proves: Bool[Tensor, "b t v"],
    ) -> Float[Tensor, "b t v c y x"]:
        """`x` with the evidence around `depth_m` worked in, of the views that prove anything."""
        ladder = depth_m.new_tensor(DEPTH_RATIOS).exp()
        with exact(volume):
            pixels = look_back(lenses, last_T_ego[:, :, None], depth_m[..., None] * ladder)
            curve = read_volume(volume, pixels)
        middle = len(DEPTH_RATIOS) // 2
        parallax = (pixels[..., middle + 1, :] - pixels[..., middle - 1, :]).norm(dim=-1)
        parallax = (parallax / STRIDE).clamp(max=20).log1p() * proves[..., None]
        cue = torch.cat([curve, parallax[..., None]], -1)
        cue = cue.transpose(-1, -2).unflatten(-1, x.shape[-2:])
        joined = torch.cat([x, cue.to(x.dtype)], dim=3).flatten(0, 2)
        return x + self.out(self.mix(joined)).unflatten(0, x.shape[:3])
