"""The measurements on a device, rehearsed at a small size on the CPU."""

import importlib
import json
import math
import sys
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
UNTRAINED = {"driv3r-b", "driv3r-l"}  # the code of driv3r-s, which is compared


@pytest.fixture(scope="module")
def device():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return importlib.import_module("device")
    finally:
        sys.path.remove(str(BENCHMARKS))


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # small networks on shared cores only wait for more
    yield
    torch.set_num_threads(before)


def test_every_system_has_rows_and_agrees_with_itself(device, tmp_path, capsys):
    out = tmp_path / "device.json"
    device.main(["--tiny", "--device", "cpu", "--seconds", "600", "--out", str(out)])
    found, shown = json.loads(out.read_text()), capsys.readouterr().out
    assert {row["system"] for row in found["parity"]} == set(device.MODELS) - UNTRAINED
    for row in found["parity"]:
        assert row.get("error") == 0.0, row
        assert row["passes"]
    table = shown[shown.index("| system | images |") :]
    assert {row["system"] for row in found["speed"]} == set(device.MODELS)
    for row in found["speed"]:
        assert "fails" not in row, row
        for name in ("seconds", "images_per_s", "peak_gib"):
            assert math.isfinite(row[name])
            assert row[name] > 0
        assert f"| {row['system']} | {row['given']} | {row['precision']} |" in table


def test_one_failure_is_a_line_and_the_rest_goes_on(device, tmp_path, capsys, monkeypatch):
    def fail(network, images):
        raise RuntimeError("no room\nand more")

    case = next(case for case in device.CASES if case.model == "dust3r-224")
    broken = device.replace(case, call=fail, note=", broken")
    monkeypatch.setattr(device, "CASES", (broken, case))
    out = tmp_path / "device.json"
    device.main(["--tiny", "--device", "cpu", "--only", "dust3r-224", "--out", str(out)])
    rows = json.loads(out.read_text())["speed"]
    assert [row.get("fails") for row in rows] == ["RuntimeError: no room"] * 2 + [None] * 2
    assert "RuntimeError: no room | - |" in capsys.readouterr().out


def test_what_time_does_not_allow_is_left_out(device, tmp_path):
    out = tmp_path / "device.json"
    device.main(["--tiny", "--device", "cpu", "--seconds", "0", "--out", str(out)])
    found = json.loads(out.read_text())
    assert all("left out" in row["fails"] for row in found["parity"] + found["speed"])


@pytest.mark.parametrize(("second", "error"), [(1.01, 0.01), (1 + 1e-5, 1e-5), (math.nan, None)])
def test_what_differs_on_the_device_does_not_pass(device, monkeypatch, second, error):
    factors = iter([1.0, second])

    def differ(network, images):
        answers = network(images[:1], images[1:2])
        return answers, {"not a tensor": 0}, [torch.full((2,), -4.0 * next(factors))]

    case = next(case for case in device.CASES if case.model == "dust3r-224")
    monkeypatch.setattr(device, "CASES", (device.replace(case, call=differ),))
    row = device.compare("dust3r-224", torch.device("cpu"))
    assert row["worst"] == "[2][0]"
    assert row["passes"] == (second == 1 + 1e-5)
    assert row["error"] == pytest.approx(math.nan if error is None else error, rel=0.1, nan_ok=True)
