import numpy as np
import torch
from torch.nn import functional as F

from driv3r.models.driv3r.matcher import correlate
from driv3r.models.layers.xfeat import FineFeatures, XFeat, pool


def test_features_are_those_of_the_official_code_and_weights(golden):
    with np.load(golden("xfeat/dense.npz")) as file:
        images, truth = (torch.from_numpy(file[k]) for k in ("images", "features"))
    with torch.no_grad():
        ours = XFeat.pretrained()(images)
    torch.testing.assert_close(ours, truth, atol=1e-4, rtol=1e-4)


def test_a_moved_image_matches_itself_where_it_went_and_light_does_not_matter():
    torch.manual_seed(0)
    picture = F.interpolate(torch.rand(1, 3, 24, 36), (96, 144), mode="bicubic").clamp(0, 1)
    now, last = picture[..., :96, :128], 0.6 * picture[..., :96, 8:136] + 0.2
    features = FineFeatures()(torch.stack([now, last], 1)[:, :, None])
    volume = correlate(features[:, :1], features[:, 1:])[0, 0, 0]
    assert volume.shape == (24 * 32, 24, 32)
    best = volume.flatten(1).argmax(1)
    y, x = torch.meshgrid(torch.arange(24), torch.arange(32), indexing="ij")
    inner = (y > 3) & (y < 20) & (x > 6) & (x < 27)
    off = torch.stack([best // 32 - y.flatten(), best % 32 - (x.flatten() - 2)])[:, inner.flatten()]
    assert (off.abs().amax(0) <= 1).float().mean() > 0.9


def test_correlations_say_nothing_in_the_mean_and_pooled_features_are_units():
    torch.manual_seed(0)
    features = F.normalize(torch.randn(1, 2, 3, 64, 8, 12), dim=3)
    cells = pool(features)
    assert cells.shape == (1, 2, 3, 64, 4, 6)
    torch.testing.assert_close(cells.norm(dim=3), torch.ones(1, 2, 3, 4, 6))
    volume = correlate(cells, features)
    mean = volume.flatten(-2).mean(-1)
    torch.testing.assert_close(mean, torch.zeros_like(mean), atol=1e-6, rtol=0)
    direct = (cells[0, 1, 2, :, 1, 3] * features[0, 1, 2, :, 5, 7]).sum()
    less = (cells[0, 1, 2, :, 1, 3, None, None] * features[0, 1, 2]).sum(0).mean()
    torch.testing.assert_close(volume[0, 1, 2, 9, 5, 7], direct - less, atol=1e-6, rtol=1e-5)
