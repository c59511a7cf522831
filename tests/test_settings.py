"""One identity: what decides a run's arrays changes it, and nothing else does."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from driv3r.pipelines.preflight import make_provenance, resolve
from driv3r.settings import (
    IRRELEVANT,
    PACKAGE,
    Provenance,
    Settings,
    fingerprint,
    hash_sources,
)

PLAIN = Settings("nuscenes", Path("data"))
OTHERS: dict[str, Any] = {
    "dataset": "ddad",
    "root": Path("elsewhere"),
    "split": "all",
    "sweeps": True,
    "split_file": Path("a.json"),
    "rig": Path("rig.yaml"),
    "follow_links": True,
    "model": "dust3r",
    "weights": Path("a.pth"),
    "second_weights": Path("b.pth"),
    "aligner": "pnp",
    "flow": "matcher",
    "ego_poses": "given",
    "calibration": "hidden",
    "refine": "none",
    "fuse": "both",
    "precision": "bf16",
    "device": "cuda",
    "threads": 2,
    "protocol": "kitti",
}


@pytest.mark.parametrize("name", [f.name for f in dataclasses.fields(Settings)])
def test_every_field_is_part_of_the_identity_or_declared_irrelevant(name):
    declared = next(f for f in dataclasses.fields(Settings) if f.name == name)
    changed = dataclasses.replace(PLAIN, **{name: OTHERS[name]})
    assert getattr(changed, name) != getattr(PLAIN, name)
    differs = fingerprint(changed) != fingerprint(PLAIN)
    assert differs == declared.metadata.get("identity", True)


def provenance(**changes) -> Provenance:
    fields = {
        "settings": {"threads": 1},
        "weights": "w",
        "sources": "s",
        "versions": {"torch": "2"},
        "device": "cpu",
        "precision": "fp32",
    }
    return Provenance(**fields | changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"device": "cuda"}, "device is cuda, was cpu"),
        ({"precision": "bf16"}, "precision is bf16, was fp32"),
        ({"weights": "other"}, "weights is other, was w"),
        ({"sources": "t"}, "sources is t, was s"),
        ({"versions": {"torch": "3"}}, "torch is 3, was 2"),
        ({"settings": {"threads": 4}}, "threads is 4, was 1"),
        ({"settings": {}}, "threads is nothing, was 1"),
        ({"machine": "another"}, None),
    ],
)
def test_provenance_tells_what_differs(changes, words):
    other, same = provenance(**changes), words is None
    assert other.differences(provenance()) == ([] if same else [words])
    assert (fingerprint(other) == fingerprint(provenance())) == same


def test_what_a_path_or_auto_stands_for_counts_and_not_its_name(tmp_path):
    from driv3r.models.checkpoints import SHIPPED

    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(SHIPPED.read_bytes())
    plain, elsewhere = resolve(PLAIN), resolve(dataclasses.replace(PLAIN, weights=copy))
    assert make_provenance(plain).differences(make_provenance(elsewhere)) == []
    with copy.open("ab") as file:
        file.write(b"\0")
    (difference,) = make_provenance(plain).differences(make_provenance(elsewhere))
    assert difference.startswith("weights is ")
    explicit = dataclasses.replace(PLAIN, precision=plain.precision, refine="tracks")
    assert make_provenance(resolve(explicit)).differences(make_provenance(plain)) == []
    other = resolve(dataclasses.replace(PLAIN, precision="bf16"))
    assert make_provenance(other).differences(make_provenance(plain)) == [
        "precision is bf16, was fp32"
    ]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda leaf: st.lists(leaf) | st.dictionaries(st.text(), leaf),
    max_leaves=12,
)


@hypothesis_settings(deadline=None, max_examples=60)
@given(st.dictionaries(st.text(), JSON, min_size=2), JSON)
def test_order_does_not_count_and_values_do(facts, other):
    backwards = dict(reversed(facts.items()))
    assert fingerprint(facts) == fingerprint(backwards)
    name = next(iter(facts))
    changed = facts | {name: [facts[name], other]}
    assert fingerprint(changed) != fingerprint(facts)


@dataclass(frozen=True)
class Inner:
    kept: int = 1
    note: str = field(default="", metadata=IRRELEVANT)


@dataclass(frozen=True)
class Outer:
    inner: Inner = Inner()
    many: tuple[Inner, ...] = ()
    array: np.ndarray = field(default_factory=lambda: np.zeros(3))


def test_dataclasses_within_others_lose_their_irrelevant_fields():
    plain = fingerprint(Outer(many=(Inner(),)))
    assert fingerprint(Outer(Inner(note="x"), (Inner(note="y"),))) == plain
    assert fingerprint(Outer(Inner(2), (Inner(),))) != plain
    assert fingerprint(Outer(many=(Inner(2),))) != plain
    assert fingerprint(Outer(many=(Inner(),), array=np.array([0, 0, 1e-300]))) != plain
    assert fingerprint(Outer(many=(Inner(),), array=np.zeros(3, np.float32))) != plain
    assert fingerprint(Inner()) != fingerprint({"kept": 1})  # another kind of thing
    with pytest.raises(TypeError, match="set has no identity"):
        fingerprint({1, 2})


def test_sources_at_any_depth_count(tmp_path):
    """A sub-package once dropped out of the digest without a word."""
    deep = tmp_path / "a" / "b" / "c.py"
    deep.parent.mkdir(parents=True)
    deep.write_text("x = 1")
    (tmp_path / "left_out").mkdir()
    (tmp_path / "left_out" / "d.py").write_text("y = 1")
    seen = {hash_sources(("left_out",), tmp_path)}
    for change in ("x = 2", "x = 1 "):
        deep.write_text(change)
        hash_sources.cache_clear()
        seen.add(hash_sources(("left_out",), tmp_path))
    assert len(seen) == 3
    (tmp_path / "left_out" / "d.py").write_text("y = 2")
    hash_sources.cache_clear()
    assert hash_sources(("left_out",), tmp_path) in seen
    deep.rename(deep.with_name("e.py"))
    hash_sources.cache_clear()
    assert hash_sources(("left_out",), tmp_path) not in seen


def test_what_is_left_out_of_a_logs_sources_exists():
    from driv3r.settings import NOT_OF_LOGS

    assert all((PACKAGE / name).exists() for name in NOT_OF_LOGS)


def test_paths_are_absolute_wherever_a_worker_runs(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    settings = Settings("nuscenes", Path("data"), weights=Path("a/b"), split_file=Path("c"))
    assert (settings.root, settings.weights) == (tmp_path / "data", tmp_path / "a/b")
    assert settings.split_file == tmp_path / "c"
    assert settings.protocol == "nuscenes"
