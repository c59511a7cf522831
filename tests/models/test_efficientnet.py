import numpy as np
import torch

from driv3r.models.layers.efficientnet import EfficientNetLite, SemanticFeatures


def test_features_are_those_of_the_published_package(golden):
    """To float16's precision, in which the folded weights are kept."""
    with np.load(golden("efficientnet/lite0.npz")) as file:
        images, *truth = (torch.from_numpy(file[k]) for k in ("images", "eighth", "sixteenth"))
    with torch.no_grad():
        eighth, sixteenth = EfficientNetLite.pretrained()(images.float() / 255)
    for ours, theirs in zip((eighth[:, ::5], sixteenth[:, ::7]), truth, strict=True):
        assert ours.shape == theirs.shape
        error = (ours - theirs.float()).abs().max() / theirs.float().abs().max()
        assert error < 0.01


def test_any_size_is_taken_and_channels_are_normalised():
    eighth, sixteenth = SemanticFeatures()(torch.rand(2, 3, 64, 112))
    assert eighth.shape == (2, 40, 8, 14)
    assert sixteenth.shape == (2, 112, 4, 7)
    for features in (eighth, sixteenth):
        std, mean = torch.std_mean(features, 1, correction=0)
        torch.testing.assert_close(mean, torch.zeros_like(mean), atol=1e-5, rtol=0)
        torch.testing.assert_close(std, torch.ones_like(std), atol=1e-3, rtol=0)
