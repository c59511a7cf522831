"""What stands still beside roads and over them: houses, trees, furniture, tunnels, car parks."""

from collections.abc import Iterator

import numpy as np

from driv3r.simulator.assets import asset_library as assets
from driv3r.simulator.assets.mesh import Material, Mesh, at, box, join, place
from driv3r.simulator.assets.street import street_furniture
from driv3r.simulator.scene.road import Road, make_sheet, make_strip
from driv3r.simulator.scene.street_grid import CROSS_M, Streets

TUNNEL_M = 5.4  # height of the ceiling


def spots(rng: np.random.Generator, start: float, stop: float, low: float, high: float):
    """Random places along a road, `low` to `high` metres apart."""
    s = start + rng.uniform(0, high)
    while s < stop:
        yield s
        s += rng.uniform(low, high)


def stand(
    road: Road, mesh: Mesh, s: float, d: float, turn: float = 0.0, scale: float = 1.0
) -> Mesh:
    """A thing upright at (s, d), its x along the road turned by `turn`."""
    x, y, z = road.surface(s, d)
    return place(mesh, at(x, y, z, float(road.frame(s)[3]) + turn), scale)


def facing(side: int) -> float:
    """The turn that makes a thing at this side of the road face it."""
    return 0.0 if side > 0 else np.pi


def furnish_side(
    rng: np.random.Generator, road: Road, side: int, ends: tuple[float, float], kind: str
) -> Iterator[Mesh]:
    """One side of a stretch of road: house fronts, trees, furniture, green."""
    edge = road.style.half_width_m + road.style.pavement_m
    fenced = rng.random() < {"city": 0.35, "suburb": 0.6, "highway": 0.0}[kind]
    if fenced:
        yield from _edge_row(rng, road, side, ends)
    yield from _house_row(rng, road, side, ends, kind, fenced)
    gaps = {"city": (7, 24), "suburb": (5, 18), "highway": (10, 40)}[kind]
    if rng.random() < 0.85:
        for s in spots(rng, ends[0], ends[1], gaps[0], gaps[1]):
            mesh = assets.tree(int(rng.integers(assets.TREES)))
            inner = road.style.half_width_m + min(0.9, 0.4 * road.style.pavement_m)
            d = inner if kind == "city" else edge + rng.uniform(0.8, 10)
            turn = rng.uniform(0, 2 * np.pi)
            yield stand(road, mesh, s, side * d, turn, rng.uniform(0.8, 1.25))
    yield from _small_things(rng, road, side, ends, kind)
    if kind != "city" or rng.random() < 0.3:
        yield from _green(rng, road, side, ends)


def _edge_row(rng, road: Road, side: int, ends: tuple[float, float]) -> Iterator[Mesh]:
    """Hedges, fences or walls right at the pavement's edge, with gaps for gates and drives."""
    edge = road.style.half_width_m + road.style.pavement_m
    kind, gate = int(rng.choice([0, 1, 1])), rng.uniform(0.05, 0.3)
    piece = assets.lengthy(rng, kind)
    for s in np.arange(ends[0] + 3.0, ends[1] - 3.0, 6.0):
        if rng.random() < 0.25:
            kind = int(rng.choice([0, 1, 1]))
            piece = assets.lengthy(rng, kind)
        if rng.random() > gate:
            yield stand(road, piece, float(s), side * (edge + (0.55 if kind == 0 else 0.12)))


def _house_row(
    rng, road: Road, side: int, ends: tuple[float, float], kind: str, fenced: bool = False
) -> Iterator[Mesh]:
    """Fronts in a row with gaps, and blocks or woods far behind so that gaps are not empty."""
    edge = road.style.half_width_m + road.style.pavement_m
    back = {"city": (0.0, 2.0), "suburb": (4.0, 14.0), "highway": (18.0, 60.0)}[kind]
    back = (2.0, 5.0) if fenced and kind == "city" else back
    store = {
        "city": assets.city_house,
        "suburb": assets.detached_house,
        "highway": assets.hall,
    }[kind]
    closed = rng.random() < 0.6
    s = ends[0]
    while True:
        width, house = store(int(rng.integers(assets.BUILDINGS)))
        if s + width > ends[1]:
            break
        d = edge + (rng.uniform(*back) if rng.random() < 0.5 else back[0]) + 0.3
        yield stand(road, house, s + width / 2, side * d, facing(side))
        tight = closed and kind == "city"
        s += width + (rng.uniform(0, 1.0) if tight else rng.uniform(2, 20))
    for s in spots(rng, ends[0], ends[1], 25, 60):
        if kind == "city" or rng.random() < 0.35:
            block = assets.far_block(int(rng.integers(assets.BUILDINGS)))
            yield stand(road, block, s, side * (edge + rng.uniform(45, 110)), facing(side))
        else:
            wood = assets.far_trees(int(rng.integers(assets.BUSHES)))
            yield stand(road, wood, s, side * (edge + rng.uniform(35, 110)), facing(side))


def _small_things(rng, road: Road, side: int, ends, kind: str) -> Iterator[Mesh]:
    half, pave = road.style.half_width_m, road.style.pavement_m
    for s in spots(rng, ends[0], ends[1], 6, 30):
        thing = int(rng.choice([0, 0, 0, 1, 2, 3, 4, 5, 6, 7]))
        if kind == "highway" and thing:
            continue
        d = half + (0.4 if thing in (0, 5) else max(pave - 0.9, 0.5))
        mesh = assets.small_thing(thing, int(rng.integers(10)))
        yield stand(road, mesh, s, side * d, facing(side))
    if rng.random() < 0.3:
        barrier = int(rng.choice([1, 2, 3]))
        first = rng.uniform(*ends)
        for s in np.arange(first, min(first + rng.uniform(12, 60), ends[1] - 3), 6.0):
            yield stand(road, assets.lengthy(rng, barrier), s, side * (half + 0.35), facing(side))
    if kind == "suburb" and side > 0 and rng.random() < 0.5:
        pole = street_furniture.make_utility_pole(rng)
        for s in np.arange(ends[0] + 5, ends[1], 38.0):
            yield stand(road, pole, float(s), side * (half + pave + 0.6))
    if rng.random() < 0.15:
        works = street_furniture.make_works(rng)
        d = half - 1.2 if road.style.parking_m else half + max(pave, 2.0)
        yield stand(road, works, rng.uniform(*ends), side * d, facing(side))


def _green(rng, road: Road, side: int, ends) -> Iterator[Mesh]:
    """Hedges, fences, walls and bushes behind the pavement."""
    edge = road.style.half_width_m + road.style.pavement_m
    for s in spots(rng, ends[0], ends[1], 6, 30):
        kind = int(rng.choice([0, 0, 1, 1, 2]))
        d = edge + rng.uniform(0.3, 1.5)
        for k in range(int(rng.integers(1, 4))):
            yield stand(road, assets.lengthy(rng, kind), s + 6 * k, side * d, facing(side))
    tufts = assets.grass_tufts(int(rng.integers(6)))
    for s in np.arange(ends[0] + 5, ends[1], 10.0):
        yield stand(road, tufts, float(s), side * (edge + 2.5))
    for s in spots(rng, ends[0], ends[1], 4, 16):
        mesh = assets.bush(int(rng.integers(assets.BUSHES)))
        d = edge + rng.uniform(0.8, 14)
        yield stand(road, mesh, s, side * d, rng.uniform(0, 6), rng.uniform(0.7, 1.5))


def place_lamps(rng: np.random.Generator, road: Road, ends) -> tuple[list[Mesh], np.ndarray]:
    """Street lamps on one or both sides, and their points of light."""
    meshes, lights = [], []
    spacing = rng.uniform(22, 40)
    warm = np.array([1.0, 0.72, 0.42]) if rng.random() < 0.6 else np.array([0.95, 0.97, 1.0])
    mesh = street_furniture.make_lamp(rng)
    lamp = mesh.vertices[mesh.triangles[mesh.material == Material.LAMP]].reshape(-1, 3)
    head = lamp.mean(0) if len(lamp) else np.array([0, 0, mesh.vertices[:, 2].max()])
    for side in ((-1, 1), (-1,), (1,))[int(rng.integers(3))]:
        for s in np.arange(ends[0] + rng.uniform(0, spacing), ends[1], spacing):
            d = side * (road.style.half_width_m + 0.5)
            turn = float(road.frame(s)[3]) + (np.pi / 2 if side < 0 else -np.pi / 2)
            x, y, z = road.surface(s, d)
            world_T_lamp = at(x, y, z, turn)
            meshes.append(place(mesh, world_T_lamp))
            lights.append(np.r_[(world_T_lamp @ np.r_[head - (0, 0, 0.15), 1])[:3], warm])
    return meshes, np.array(lights).reshape(-1, 6)


def furnish_junctions(rng: np.random.Generator, streets: Streets) -> Iterator[Mesh]:
    """Signals at the corners, signs, and the other streets' houses and trees."""
    main, terrain = streets.main, streets.terrain
    out = terrain.cross_half_m + terrain.corner_m * 0.5 + 0.6
    for x in streets.cross_m:
        for side in (-1, 1):
            light = street_furniture.make_traffic_light(rng)
            yield stand(main, light, x - side * out, side * (terrain.half_m + 0.7), facing(side))
    first = terrain.half_m + main.style.pavement_m + 19
    for road in streets.cross:
        for ends in ((-CROSS_M + 15, -first), (first, CROSS_M - 15)):
            for side in (-1, 1):
                yield from furnish_side(rng, road, side, ends, "city")
        for end in (-CROSS_M, CROSS_M):  # what a street across looks towards
            block = assets.far_block(int(rng.integers(assets.BUILDINGS)))
            yield stand(road, block, end + np.sign(end) * 12, 0.0, np.sign(end) * np.pi / 2)


def make_tunnel(rng: np.random.Generator, road: Road, ends) -> tuple[list[Mesh], np.ndarray]:
    """Walls, ceiling and lamps over a stretch of road, portals at its ends."""
    half = road.style.half_width_m + road.style.pavement_m
    grey = np.full(3, rng.uniform(0.2, 0.5))
    s = np.linspace(ends[0], ends[1], max(int((ends[1] - ends[0]) / 3), 2))
    sheets = []
    for d in (-half, half):
        floor = road.surface(s, d)
        sheets.append((floor, floor + (0, 0, TUNNEL_M)))
    sheets.append((sheets[0][1], sheets[1][1]))
    sheets.append((sheets[0][1] + (0, 0, 1.5), sheets[1][1] + (0, 0, 1.5)))
    parts = []
    for low, high in sheets:
        points = np.stack([low, high], 1)
        uv = np.stack([np.stack([s, 0 * s], -1), np.stack([s, 0 * s + TUNNEL_M], -1)], 1)
        parts.append(make_sheet(points, uv, Material.CONCRETE, grey))
    lamps = []
    for place_s in np.arange(ends[0] + 2, ends[1], rng.uniform(5, 9)):
        for side in (-0.5, 0.5):
            tube = box((1.6, 0.25, 0.1), (0.9, 0.9, 0.8), Material.LAMP, (0, 0, TUNNEL_M - 0.2))
            parts.append(stand(road, tube, place_s, side * half))
            lamps.append(
                np.r_[road.surface(place_s, side * half) + (0, 0, TUNNEL_M - 0.35), 1, 0.85, 0.6]
            )
    for end, out in ((ends[0], -1), (ends[1], 1)):
        for side in (-1, 1):
            wing = box((1.0, 30.0, TUNNEL_M + 2.2), grey * 0.8, Material.BRICK, (0, 0, -1.0))
            parts.append(stand(road, wing, end + 0.5 * out, side * (half + 15.0)))
        beam = box((1.0, 2 * half, 1.8), grey * 0.8, Material.CONCRETE, (0, 0, TUNNEL_M))
        parts.append(stand(road, beam, end + 0.5 * out, 0.0))
    return parts, np.array(lamps)


def make_signs_over(rng: np.random.Generator, road: Road, ends) -> Iterator[Mesh]:
    """Gantries over a highway."""
    span_m = 2 * (road.style.half_width_m + 1.5)
    for s in spots(rng, ends[0], ends[1], 60, 250):
        yield stand(road, street_furniture.make_gantry(rng, span_m), s, 0.0)


def make_bridge(rng: np.random.Generator, road: Road) -> Mesh:
    """A bridge over the road on columns or walls, with railings."""
    s, half = float(rng.uniform(20, 150)), road.style.half_width_m + road.style.pavement_m + 0.6
    grey = np.full(3, rng.uniform(0.2, 0.45))
    depth = float(rng.uniform(4, 16))
    deck = box((depth, 2 * half + 60, 1.3), grey, Material.CONCRETE, (0, 0, 5.3))
    rails = [
        box((0.15, 2 * half + 60, 0.9), grey * 1.2, Material.METAL, (x, 0, 6.6))
        for x in (-depth / 2, depth / 2)
    ]
    if rng.random() < 0.5:
        legs = [
            box((depth, 0.8, 6.3), grey * 0.9, Material.CONCRETE, (0, y, -1.0))
            for y in (-half, half)
        ]
    else:
        rows = np.arange(-depth / 2 + 1, depth / 2, 4.0)
        legs = [
            box((0.9, 0.9, 6.3), grey, Material.CONCRETE, (x, y, -1.0))
            for x in rows
            for y in (-half, half)
        ]
    return stand(road, join([deck, *rails, *legs]), s, 0.0)


def furnish_lot(rng: np.random.Generator, road: Road, colour) -> Iterator[Mesh]:
    """A car park about an aisle: its ground, trees between bays, halls and woods around."""
    reach = rng.uniform(40, 72)
    edges = np.linspace(-reach, reach, 31)
    yield make_strip(road, edges, Material.LOT, colour, (-140.0, 260.0), 4.0)
    for v in np.arange(8.0, reach, 16.0):
        for side in (-1, 1):
            for s in spots(rng, -60, 200, 15, 60):
                mesh = assets.tree(int(rng.integers(assets.TREES)))
                if rng.random() < 0.5:
                    mesh = street_furniture.make_lamp(rng)
                yield stand(road, mesh, s, side * v, rng.uniform(0, 6))
    for side in (-1, 1):
        s = -120.0
        while s < 230:
            width, hall = assets.hall(int(rng.integers(assets.BUILDINGS)))
            if rng.random() < 0.5:
                yield stand(road, hall, s + width / 2, side * (reach + 2), facing(side))
            else:
                wood = assets.far_trees(int(rng.integers(assets.BUSHES)))
                yield stand(road, wood, s + width / 2, side * (reach + 5), facing(side))
            s += width + 3
    for end, turn in ((-150.0, -np.pi / 2), (270.0, np.pi / 2)):
        for d in (-30, 20):
            yield stand(
                road,
                assets.hall(int(rng.integers(assets.BUILDINGS)))[1],
                end,
                d,
                turn,
            )
