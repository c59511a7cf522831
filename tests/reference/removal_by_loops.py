"""ERASOR's and DynamicMap's rates as their papers' code has them: point after point, in loops.

LimHyungTae/ERASOR scripts/analysis_py3.py; KTH-RPL/DynamicMap_Benchmark export_eval_pcd.cpp and
evaluate_all.py. A map is a list of points; labels of an estimate are those of its nearest truth.
"""

import math


def nearest(point, others):
    """Distance and row of the nearest of other points."""
    return min((math.dist(point, other), row) for row, other in enumerate(others))


def erasor(points, static, dynamic, voxel_m):
    """PR and RR of a map against truth that is thinned to the middles of voxels."""
    cells = {}
    for kind, cloud in (("static", static), ("dynamic", dynamic)):
        for p in cloud:
            cell = cells.setdefault(tuple(math.floor(x / voxel_m) for x in p), [])
            cell.append((kind, p))
    truth = [*(("static", p) for p in static), *(("dynamic", p) for p in dynamic)]
    kinds = [truth[nearest(p, [q for _, q in truth])[1]][0] for p in points]
    counts = {"static": [0, 0], "dynamic": [0, 0]}
    for cell in cells.values():
        kind = "static" if any(k == "static" for k, _ in cell) else "dynamic"
        middle = [sum(p[axis] for _, p in cell) / len(cell) for axis in range(3)]
        distance, row = nearest(middle, points)
        counts[kind][1] += 1
        if distance < voxel_m * math.sqrt(3) / 2 and kinds[row] == kind:
            counts[kind][0] += 1
    (static_kept, n_static), (dynamic_kept, n_dynamic) = counts["static"], counts["dynamic"]
    return static_kept / n_static, (n_dynamic - dynamic_kept) / n_dynamic


def dynamic_map(points, static, dynamic, reach_m):
    """SA, DA, AA and HA of a map."""
    kept = [nearest(p, points)[0] <= reach_m for p in (*static, *dynamic)]
    sa = sum(kept[: len(static)]) / len(static)
    da = sum(not k for k in kept[len(static) :]) / len(dynamic)
    return sa, da, math.sqrt(sa * da), 2 * sa * da / (sa + da)
