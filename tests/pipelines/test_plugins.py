"""Installed packages add datasets and models by entry points."""

from pathlib import Path

import pytest
import torch
from run_settings import settings_for
from safetensors.torch import save_file

from driv3r.datasets import list_readers, open_dataset
from driv3r.errors import ConfigError
from driv3r.models.registry import list_models
from driv3r.pipelines.process import process
from driv3r.store.reader import LogStore
from driv3r.store.verify import verify

CODE = '''
import numpy as np
import torch
from torch import nn

from driv3r.datasets.nuscenes import NuScenesReader
from driv3r.geometry.ground_plane import predict_ground_plane
from driv3r.inference.metric_scale import UnscaledPrediction
from driv3r.models.key_maps.base import KeyMap
from driv3r.models.registry import ModelCard


class Street(NuScenesReader):
    """Somebody's own dataset, which happens to lie as nuScenes does."""


class Network(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.unit = nn.Parameter(torch.tensor(config))


class Adapter:
    """Answers the flat road, in units of the network's own."""

    def __init__(self, network, rig, device):
        self.unit = network.unit.item()
        self.depth = predict_ground_plane(rig) / self.unit

    def predict(self, images, present, dt_s):
        nowhere = np.full((len(present), 4, 4), np.nan)
        return UnscaledPrediction(self.depth, np.ones_like(self.depth), nowhere)

    def save_state(self):
        return {}

    def load_state(self, arrays):
        pass


flat = ModelCard(
    network=Network, config=4.0, key_map=KeyMap(()), paper="none", inputs="images",
    outputs="the road", size_hw=(64, 112), scale="similarity", checkpoint="made by the test",
    code_license="Apache-2.0", weights_license="Apache-2.0", adapt=Adapter,
)
'''


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A package in a folder of sys.path, as pip leaves it."""
    site = tmp_path / "site"
    (site / "streets-1.0.dist-info").mkdir(parents=True)
    (site / "streets.py").write_text(CODE)
    (site / "streets-1.0.dist-info" / "METADATA").write_text("Name: streets\nVersion: 1.0\n")
    points = "[driv3r.datasets]\nstreet = streets:Street\n[driv3r.models]\nflat = streets:flat\n"
    (site / "streets-1.0.dist-info" / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(str(site))
    list_readers.cache_clear()
    list_models.cache_clear()
    yield site
    list_readers.cache_clear()
    list_models.cache_clear()


def test_a_packages_dataset_and_model_run_in_the_pipeline(installed, tiny_world, tmp_path):
    weights = tmp_path / "flat.safetensors"
    save_file({"unit": torch.tensor(4.0)}, weights)
    settings = settings_for(
        tiny_world, dataset="street", model="flat", weights=weights, protocol="nuscenes"
    )
    run = process(settings, tmp_path / "out", inline=True, limit=1)
    assert [(log.state, log.error) for log in run.logs] == [("done", None)]
    store = LogStore.open(Path(run.logs[0].store))
    assert verify(store.path).ok
    assert (store.header.dataset, store.header.model) == ("street", "flat")
    values = {
        score.subject: score.value
        for score in run.scores
        if (score.metric, score.scaling, score.camera) == ("abs_rel", "metric", "all")
    }
    assert values["flat"] == pytest.approx(values["ground-plane"], rel=0.02)  # its unit was found


def test_a_dataset_without_a_protocol_of_its_name_asks_for_one(installed, tiny_world, tmp_path):
    with pytest.raises(ConfigError, match="no protocol 'street'; known: nuscenes"):
        process(settings_for(tiny_world, dataset="street"), tmp_path, inline=True)
    assert open_dataset("street", tiny_world).scenes("val")


def test_an_entry_point_that_is_no_model_is_told(installed):
    points = "[driv3r.models]\nflat = streets:CODE\n"
    (installed / "streets.py").write_text("CODE = 'text'\n")
    (installed / "streets-1.0.dist-info" / "entry_points.txt").write_text(points)
    import sys

    sys.modules.pop("streets", None)
    with pytest.raises(ConfigError, match="'flat' of driv3r.models is a str"):
        list_models()
