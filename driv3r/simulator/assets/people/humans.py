"""Bodies hung on poses: swept limbs, torso, head, shoes and clothes."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from driv3r.simulator.assets.mesh import Material, Mesh, join, make_mesh
from driv3r.simulator.assets.people.human_pose import ANKLE, Limb, Pose
from driv3r.simulator.assets.primitives import slab, tube

CLOTHES = np.array(
    [
        [0.015, 0.015, 0.018], [0.03, 0.032, 0.04], [0.08, 0.085, 0.09], [0.02, 0.03, 0.07],
        [0.04, 0.07, 0.16], [0.1, 0.17, 0.3], [0.3, 0.29, 0.27], [0.62, 0.61, 0.58],
        [0.36, 0.03, 0.035], [0.06, 0.1, 0.05], [0.33, 0.24, 0.13], [0.12, 0.07, 0.04],
        [0.55, 0.38, 0.04], [0.35, 0.1, 0.2], [0.08, 0.28, 0.3], [0.5, 0.16, 0.03],
    ]
)  # fmt: skip
CLOTHES_CHANCES = np.array([17, 12, 10, 9, 7, 6, 8, 9, 4, 4, 4, 3, 2, 2, 2, 1]) / 100
SKINS = np.array([[0.57, 0.38, 0.29], [0.46, 0.28, 0.2], [0.28, 0.15, 0.09], [0.11, 0.06, 0.04]])
HAIRS = np.array(
    [[0.01, 0.009, 0.008], [0.035, 0.02, 0.012], [0.11, 0.06, 0.025], [0.35, 0.25, 0.11],
     [0.32, 0.31, 0.3]]
)  # fmt: skip


@dataclass(frozen=True)
class Person:
    """What someone looks like, whatever the pose."""

    height: float
    wide: float
    head: float
    skin: Float[np.ndarray, "3"]
    hair: Float[np.ndarray, "3"]
    top: Float[np.ndarray, "3"]
    bottom: Float[np.ndarray, "3"]
    shoes: Float[np.ndarray, "3"]
    accent: Float[np.ndarray, "3"]
    sleeves: str  # long, short
    legs: str  # trousers, shorts, skirt, coat
    hem: float  # how far down a skirt or coat reaches, 1 at the knee
    hat: str  # none, long, cap, beanie, brim, helmet, full (helmet)
    bag: str  # none, backpack, shoulder, carrier
    umbrella: bool
    stride: float


def choose_person(rng: np.random.Generator, grown: bool = False) -> Person:
    """Someone; `grown` leaves out children and what hinders a rider."""
    child = not grown and rng.random() < 0.1
    height = float(rng.uniform(1.0, 1.45) if child else np.clip(rng.normal(1.71, 0.09), 1.5, 1.95))
    tops = CLOTHES[rng.choice(len(CLOTHES), 4, p=CLOTHES_CHANCES)] * rng.uniform(0.8, 1.2, (4, 1))
    legs = str(rng.choice(["trousers", "shorts", "skirt", "coat"], p=[0.62, 0.1, 0.12, 0.16]))
    hat = str(
        rng.choice(["none", "long", "cap", "beanie", "brim"], p=[0.46, 0.27, 0.12, 0.1, 0.05])
    )
    bag = str(rng.choice(["none", "backpack", "shoulder", "carrier"], p=[0.52, 0.2, 0.16, 0.12]))
    hem = float(rng.uniform(0.6, 1.35))
    umbrella = bool(rng.random() < 0.04)
    if grown:
        legs, umbrella = "trousers" if legs in ("skirt", "coat") else legs, False
        hat, bag = "helmet" if rng.random() < 0.6 else hat, "backpack" if bag != "none" else bag
    return Person(
        height,
        float(rng.uniform(0.9, 1.2)),
        1.0 if not child else float(np.interp(height, [1.0, 1.45], [1.35, 1.14])),
        SKINS[int(rng.choice(4, p=[0.4, 0.28, 0.18, 0.14]))],
        HAIRS[int(rng.integers(len(HAIRS)))],
        tops[0], tops[1], tops[2] if rng.random() < 0.7 else np.array([0.6, 0.6, 0.58]), tops[3],
        "short" if legs == "shorts" or (legs != "coat" and rng.random() < 0.25) else "long",
        legs, hem, hat, bag, umbrella, float(rng.uniform(0.82, 1.1)),
    )  # fmt: skip


def sweep(points, radii, colours, count: int = 7, material=Material.CLOTH, up=False) -> Mesh:
    """A closed round body along points; `radii` [k] or [k, 2] (along y, and across it).

    `colours` is one colour or one a piece between two rings; `up`: all rings lie level.
    """
    points = np.asarray(points, np.float64)
    radii = np.asarray(radii, np.float64)
    radii = np.stack([radii, radii], -1) if radii.ndim == 1 else radii
    n = len(points)
    axis = np.gradient(points, axis=0)
    axis = np.tile([0.0, 0.0, 1.0], (n, 1)) if up else axis
    axis /= np.linalg.norm(axis, axis=1, keepdims=True) + 1e-12
    a = np.array([0.0, 1.0, 0.0]) - axis * axis[:, 1:2]
    a /= np.linalg.norm(a, axis=1, keepdims=True) + 1e-12
    b = np.cross(axis, a)
    turn = np.arange(count) * 2 * np.pi / count
    rings = (
        points[:, None]
        + np.cos(turn)[:, None] * (a * radii[:, :1])[:, None]
        + np.sin(turn)[:, None] * (b * radii[:, 1:])[:, None]
    )
    tips = np.stack([points[0] - axis[0] * 0.5 * radii[0].min(),
                     points[-1] + axis[-1] * 0.5 * radii[-1].min()])  # fmt: skip
    return close_rings(rings, tips, colours, material)


def close_rings(rings: Float[np.ndarray, "n c 3"], tips, colours, material: Material) -> Mesh:
    """The closed body over rings that turn to the left about the way along, between two tips."""
    n, count = rings.shape[:2]
    k, after = np.arange(count), (np.arange(count) + 1) % count
    faces = [np.c_[after, k, np.full(count, n * count)]]
    for row in range(n - 1):
        low, high = k + row * count, after + row * count
        faces += [np.c_[low, high, high + count], np.c_[low, high + count, low + count]]
    last = (n - 1) * count
    faces.append(np.c_[k + last, after + last, np.full(count, n * count + 1)])
    tones = np.broadcast_to(np.asarray(colours, np.float64), (n - 1, 3))
    each = np.repeat(tones, 2 * count, axis=0)
    colour = np.concatenate([np.tile(tones[0], (count, 1)), each, np.tile(tones[-1], (count, 1))])
    vertices = np.concatenate([rings.reshape(-1, 3), tips])
    return make_mesh(vertices, np.concatenate(faces), colour, material)


def _between(limb: Limb, t: float) -> Float[np.ndarray, "3"]:
    """A place on a limb: 0 its root, 1 the joint, 2 its end."""
    if t <= 1:
        return limb.root + t * (limb.joint - limb.root)
    return limb.joint + (t - 1) * (limb.end - limb.joint)


def _leg(person: Person, limb: Limb) -> list[Mesh]:
    h, w = person.height, person.wide
    spots = np.array([_between(limb, t) for t in (0.1, 1.0, 1.35, 1.97)])
    girth = np.array([0.049, 0.034, 0.033, 0.024]) * h * (0.55 + 0.45 * w)
    bare = {"trousers": 9, "shorts": 1, "skirt": 0, "coat": 9}[person.legs]
    if person.legs in ("trousers", "coat"):
        girth[2:] = np.array([0.034, 0.03]) * h * (0.55 + 0.45 * w)
    tones = [person.skin if k >= bare else person.bottom for k in range(3)]
    return [sweep(spots, girth, tones, 6), _shoe(person, limb)]


def _shoe(person: Person, limb: Limb) -> Mesh:
    h = person.height
    low = -ANKLE * h
    x = np.array([-0.036, -0.01, 0.075, 0.112]) * h
    z = np.array([-0.02, -0.012, -0.025, -0.031]) * h
    radii = np.array([[0.019, 0.022], [0.026, 0.036], [0.03, 0.018], [0.018, 0.01]]) * h
    shoe = sweep(np.c_[x, 0 * x, z], radii, person.shoes, 5, Material.PLAIN)
    local = shoe.vertices * (1, 1, 1)
    local[:, 2] = np.maximum(local[:, 2], low)
    c, s = np.cos(limb.end_rad), np.sin(limb.end_rad)
    turned = np.c_[
        c * local[:, 0] - s * local[:, 2], local[:, 1], s * local[:, 0] + c * local[:, 2]
    ]
    return make_mesh(turned + limb.end, shoe.triangles, shoe.colour, Material.PLAIN)


def _arm(person: Person, limb: Limb) -> list[Mesh]:
    h, w = person.height, person.wide
    spots = np.array([_between(limb, t) for t in (-0.07, 0.16, 1.0, 1.98)])
    girth = np.array([0.02, 0.034, 0.026, 0.019]) * h * (0.6 + 0.4 * w)
    bare = 9 if person.sleeves == "long" else 2
    tones = [person.skin if k >= bare else person.top for k in range(3)]
    along = limb.end - limb.joint
    along = along / (np.linalg.norm(along) + 1e-9)
    hand = [limb.end + 0.01 * h * along, limb.end + 0.062 * h * along]
    palm = sweep(hand, np.array([0.019, 0.018]) * h, person.skin, 4, Material.PLAIN)
    return [sweep(spots, girth, tones, 5), palm]


def _torso(person: Person, pose: Pose) -> list[Mesh]:
    h, w = person.height, person.wide
    spine = pose.chest - pose.pelvis
    shares = np.array([-0.17, 0.02, 0.38, 0.72, 0.95, 1.1])
    wide = np.array([0.083, 0.095, 0.083, 0.096, 0.1, 0.045])
    deep = np.array([0.056, 0.067, 0.06, 0.067, 0.052, 0.038])
    spots = pose.pelvis + shares[:, None] * spine
    radii = np.c_[wide * w, deep * (0.35 + 0.65 * w)] * h
    low = {"skirt": 2, "coat": 0}.get(person.legs, 1)
    tones = [person.bottom if k < low else person.top for k in range(5)]
    parts = [sweep(spots, radii, tones, 7)]
    if person.legs in ("skirt", "coat"):
        parts.append(_skirt(person, pose))
    return parts


def _skirt(person: Person, pose: Pose) -> Mesh:
    """A skirt or the tails of a coat, about both legs."""
    h, w = person.height, person.wide
    turn = np.arange(8) * 2 * np.pi / 8
    way = np.c_[np.sin(turn), -np.cos(turn), 0 * turn]  # turns to the left seen from above
    rings = []
    for t in (person.hem, 0.72 * person.hem, 0.05):
        a, b = (_between(leg, t) for leg in pose.legs)
        level = np.array([1, 1, 0]), np.array([0, 0, 0.5 * (a[2] + b[2])])
        spare = (0.062 - 0.004 * min(t, 1.0)) * h * (0.5 + 0.5 * w)
        first = (way @ (a - b) > 0)[:, None]
        rings.append(np.where(first, a, b) * level[0] + level[1] + spare * way)
    waist = pose.pelvis + 0.36 * (pose.chest - pose.pelvis)
    rings.append(waist + way * np.array([0.065 * (0.35 + 0.65 * w), 0.088 * w, 0]) * h)
    tips = np.array([rings[0].mean(0) + (0, 0, 0.05), waist])
    colour = person.bottom if person.legs == "skirt" else person.top
    return close_rings(np.array(rings), tips, colour, Material.CLOTH)


def _head(person: Person, pose: Pose) -> list[Mesh]:
    h = person.height * person.head
    spine = pose.chest - pose.pelvis
    lean = 0.4 * np.arctan2(spine[0], spine[2])
    neck = pose.chest + spine / (np.linalg.norm(spine) + 1e-9) * 0.03 * person.height
    nod = pose.nod_rad
    up = np.array([np.sin(lean + nod), 0.0, np.cos(lean + nod)])
    ahead = np.array([np.cos(lean + nod), 0.0, -np.sin(lean + nod)])
    base = neck + 0.016 * h * up

    def at(x: float, z: float) -> Float[np.ndarray, "3"]:
        return base + h * (x * ahead + z * up)

    face = [at(0.002, -0.012), at(0.006, 0.02), at(0.018, 0.032), at(0.014, 0.058),
            at(0.006, 0.09), at(-0.001, 0.12)]  # fmt: skip
    radii = np.array([[0.03, 0.033], [0.029, 0.034], [0.035, 0.044], [0.042, 0.052],
                      [0.043, 0.053], [0.02, 0.026]]) * h  # fmt: skip
    parts = [sweep(face, radii, person.skin, 7, Material.PLAIN)]
    parts.append(sweep([at(0.062, 0.052), at(0.066, 0.068)], np.array([0.008, 0.004]) * h,
                       person.skin, 3, Material.PLAIN))  # fmt: skip
    return parts + _hair(person, at, h)


def _hair(person: Person, at, h: float) -> list[Mesh]:
    shell = [at(-0.024, 0.045), at(-0.011, 0.082), at(-0.003, 0.104), at(-0.005, 0.13)]
    radii = np.array([[0.04, 0.032], [0.046, 0.05], [0.045, 0.056], [0.023, 0.03]]) * h
    if person.hat == "full":
        return _full_helmet(person, at, h)
    covered = person.hat in ("cap", "beanie", "brim", "helmet")
    colour, material = (person.accent if covered else person.hair), Material.CLOTH
    if person.hat == "helmet":
        radii, material = radii * 1.2, Material.PAINT
        shell[0] = at(-0.02, 0.07)
    parts = [sweep(shell, radii, colour, 7, material)]
    if person.hat == "cap":
        parts.append(sweep([at(0.05, 0.094), at(0.1, 0.088)], np.array([[0.034, 0.006],
                           [0.022, 0.004]]) * h, colour, 6))  # fmt: skip
    if person.hat == "brim":
        parts.append(sweep([at(0, 0.09), at(0, 0.098)], np.array([0.085, 0.08]) * h, colour, 9,
                           up=True))  # fmt: skip
    if person.hat == "long":
        locks = [at(-0.034, -0.05), at(-0.036, 0.0), at(-0.03, 0.05), at(-0.015, 0.09)]
        wide = np.array([[0.035, 0.015], [0.046, 0.024], [0.049, 0.036], [0.045, 0.04]]) * h
        parts.append(sweep(locks, wide, person.hair, 5))
    return parts


def _full_helmet(person: Person, at, h: float) -> list[Mesh]:
    """A motorcyclist's helmet with its visor."""
    shell = [at(0.006, -0.004), at(0.01, 0.03), at(0.004, 0.085), at(-0.004, 0.135)]
    radii = np.array([[0.046, 0.056], [0.056, 0.07], [0.06, 0.073], [0.028, 0.034]]) * h
    visor = [at(0.02, 0.042), at(0.02, 0.084)]
    glass = np.array([[0.05, 0.062], [0.048, 0.058]]) * h
    return [
        sweep(shell, radii, person.accent, 8, Material.PAINT),
        sweep(visor, glass, (0.012, 0.012, 0.014), 8, Material.GLASS),
    ]


def _belongings(person: Person, pose: Pose) -> list[Mesh]:
    h, chest = person.height, pose.chest
    parts = []
    if person.bag == "backpack":
        spine = chest - pose.pelvis
        back = np.array([-spine[2], 0, spine[0]]) / (np.linalg.norm(spine) + 1e-9)
        spots = [pose.pelvis + t * spine + 0.1 * h * back for t in (0.3, 0.4, 0.85, 0.98)]
        radii = np.array([[0.06, 0.035], [0.082, 0.05], [0.078, 0.045], [0.045, 0.025]]) * h
        parts.append(sweep(spots, radii, person.accent, 6))
    if person.bag == "shoulder":
        hang = pose.pelvis + np.array([-0.02, 0.135 * person.wide, -0.06]) * h
        parts.append(
            slab((0.17 * h, 0.05 * h, 0.12 * h), person.accent, Material.CLOTH, tuple(hang))
        )
        strap = chest + np.array([0.01, 0.085 * person.wide, 0.02]) * h
        high = hang + (0, 0, 0.12 * h)
        parts.append(tube(high, strap, (0.011, 0.011), person.accent, Material.CLOTH, 4, False))
    if person.bag == "carrier":
        grip = pose.arms[1].end + np.array([0, 0, -0.06]) * h
        size = np.array([0.15, 0.06, 0.17]) * h
        bag = slab(tuple(size), person.accent, Material.CLOTH, tuple(grip - (0, 0, size[2])))
        parts.append(bag)
    if person.umbrella:
        parts += _umbrella(person, pose.arms[0].end)
    return parts


def _umbrella(person: Person, grip) -> list[Mesh]:
    top = grip + (0, 0, 0.42 * person.height + 0.25)
    stick = tube(grip - (0, 0, 0.05), top, (0.008, 0.008), (0.05, 0.05, 0.05), Material.PLAIN, 4)
    turn = np.arange(8) * np.pi / 4
    rim = np.c_[np.cos(turn), np.sin(turn), 0 * turn]
    points = np.concatenate([rim * 0.5 + top - (0, 0, 0.2), rim * 0.3 + top - (0, 0, 0.06), [top]])
    k, after = np.arange(8), (np.arange(8) + 1) % 8
    skin = np.concatenate([np.c_[k, after, after + 8], np.c_[k, after + 8, k + 8],
                           np.c_[k + 8, after + 8, 0 * k + 16]])  # fmt: skip
    faces = np.concatenate([skin, skin[:, ::-1]])
    inside = points - (0, 0, 0.004)
    both = np.concatenate([points, inside])
    faces[len(skin) :] += len(points)
    return [stick, make_mesh(both, faces, person.accent, Material.CLOTH)]


def dress(person: Person, pose: Pose) -> Mesh:
    """The body of a person in a pose, without shading normals."""
    parts = _torso(person, pose) + _head(person, pose) + _belongings(person, pose)
    for leg in pose.legs:
        parts += _leg(person, leg)
    for arm in pose.arms:
        parts += _arm(person, arm)
    return join(parts)
