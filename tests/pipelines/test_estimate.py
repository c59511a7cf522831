"""What `driv3r info` says is what `driv3r process` then finds."""

from run_settings import settings_for

from driv3r.pipelines.estimate import describe_here, estimate_run


def test_logs_frames_disk_and_time_are_foreseen(tiny_world, finished, tmp_path):
    fresh = estimate_run(settings_for(tiny_world), tmp_path / "out")
    assert fresh["logs"].startswith("2, of which 0 are finished")
    assert fresh["frames to do"] == 6
    assert "GB free" in fresh["disk"]
    assert "s a frame and worker here" in fresh["time"]
    assert not (tmp_path / "out").exists()
    done = estimate_run(settings_for(tiny_world), finished[1])
    assert done["logs"].startswith("2, of which 2 are finished")
    assert done["frames to do"] == 0
    assert "time" not in done
    assert describe_here()["torch"]
