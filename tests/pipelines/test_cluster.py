"""Which Ray a run uses, and what it says where there is none."""

import os
import time

import pytest
from ray.exceptions import ActorDiedError, RayActorError
from run_settings import settings_for

from driv3r.errors import ConfigError
from driv3r.pipelines import ray_backend
from driv3r.pipelines.ray_backend import RAY_OPTIONS, explain_death, join_cluster, share_gpus


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("127.0.0.1:1", "no Ray cluster answers at 127.0.0.1:1"),
        ("ray://127.0.0.1:1", "no Ray cluster answers"),
        ("127.0.0.1:99999999", "no Ray cluster answers"),
        ("somewhere", "expected host:port"),
        (":6379", "expected host:port"),
        ("host:port", "expected host:port"),
    ],
)
def test_a_cluster_that_does_not_answer_is_told_at_once(tmp_path, address, words):
    since = time.monotonic()
    with pytest.raises(ConfigError, match=words):
        join_cluster(settings_for(tmp_path), 1, address)
    assert time.monotonic() - since < 10


def test_without_an_address_a_run_has_its_own_ray(tmp_path, monkeypatch):
    """A cluster of somebody else's on the machine, or RAY_ADDRESS, once ended in a traceback."""
    asked = {}
    inside = {}

    def init(**options: object) -> None:
        asked.update(options)
        inside.update({name: os.environ.get(name) for name in RAY_OPTIONS})

    monkeypatch.setattr(ray_backend.ray, "init", init)
    for name in RAY_OPTIONS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    join_cluster(settings_for(tmp_path, threads=3), 2, None)
    assert (asked["address"], asked["num_cpus"]) == ("local", 6)
    assert inside == RAY_OPTIONS
    assert not set(RAY_OPTIONS) & set(os.environ)  # the caller's own environment is as it was


def test_what_ray_can_not_do_is_one_line(tmp_path, monkeypatch):
    def fail(**_: object) -> None:
        raise ConnectionError("Could not find any running Ray instance.\nAnd more lines.")

    monkeypatch.setattr(ray_backend.ray, "init", fail)
    with pytest.raises(ConfigError, match="Could not find any running Ray instance.*--inline") as e:
        join_cluster(settings_for(tmp_path), 1, "auto")
    assert "\n" not in str(e.value)


def test_workers_share_the_gpus():
    assert share_gpus("cpu", 4, 2.0) == 0.0
    assert share_gpus("cuda", 4, 2.0) == 0.5
    assert share_gpus("cuda", 1, 8.0) == 1.0
    assert share_gpus("cuda:1", 4, 2.0) == 0.0  # taken by its number
    assert share_gpus("cuda", 4, 0.0) == 1.0  # a cluster without any: Ray says that it waits


def test_a_worker_that_can_not_start_is_told_from_one_that_died():
    died = explain_death(ActorDiedError(), 3)
    assert "died 3 times (out of memory?)" in died
    began = RayActorError("id", "trace\nModuleNotFoundError: driv3r", actor_init_failed=True)
    assert "could not start (ModuleNotFoundError: driv3r)" in explain_death(began, 1)
