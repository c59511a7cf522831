"""Our matcher's flow against true flow of a generated street, and of a made correlation."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from driv3r.alignment.motion_segmentation import explain_flow
from driv3r.models.checkpoints import SHIPPED, load_weights
from driv3r.models.driv3r.matcher_flow import SEARCH_CELLS, MatcherFlow, find_matches
from driv3r.simulator.export.clips import render_frame
from driv3r.simulator.rendering.renderer import Renderer
from driv3r.simulator.scene.camera_rig import make_rig
from driv3r.simulator.scene.world import make_world


@settings(deadline=None, max_examples=20)
@given(st.integers(-SEARCH_CELLS, SEARCH_CELLS), st.integers(-SEARCH_CELLS, SEARCH_CELLS))
def test_a_picture_that_moves_as_a_whole_is_followed_by_whole_cells(right, down):
    rows, columns = 9, 12
    marks = torch.nn.functional.normalize(
        torch.randn(32, rows, columns, generator=torch.Generator().manual_seed(0)), dim=0
    )
    moved = torch.roll(marks, (down, right), (1, 2))
    volume = 30 * torch.einsum("cn,cm->nm", marks.flatten(1), moved.flatten(1))
    flow = find_matches(volume.unflatten(1, (rows, columns)))
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    margin = 2  # cells that are averaged with ones whose match has left the image
    stays = (x + right >= margin) & (x + right < columns - margin)
    stays &= (y + down >= margin) & (y + down < rows - margin)
    expected = torch.tensor([8.0 * right, 8.0 * down]).expand(int(stays.sum()), 2)
    torch.testing.assert_close(flow[stays], expected, atol=0.5, rtol=0)


def test_flow_of_a_street_is_near_the_true_one():
    model, _ = load_weights(SHIPPED)
    rig, renderer = make_rig(model.config.size_hw), Renderer(make_world(15, 1.0, "city"))
    (last, world_T_last), (now, world_T_now) = (
        render_frame(renderer, rig, time_s)[0] for time_s in (0.3, 0.4)
    )
    flow = MatcherFlow(model, torch.device("cpu"))(now.image, last.image).astype(np.float64)
    depth_m = np.where(now.depth_m > 0, now.depth_m, np.nan)
    true = explain_flow(rig.cameras[0], depth_m, world_T_now, world_T_last)
    known = np.isfinite(true).all(-1) & ~now.moving
    off_px = np.linalg.norm(flow - true, axis=-1)[known]
    length_px = np.linalg.norm(true, axis=-1)[known]
    assert np.median(off_px) < 4  # half a cell
    assert np.median(off_px) < 0.6 * np.median(length_px)
