"""Parts of standing things: sheets gathered quad by quad, closed slabs, tapered tubes, lumps."""

import numpy as np
from jaxtyping import Float

from driv3r.simulator.assets.mesh import Material, Mesh, box, join, make_mesh

GOLDEN = (1 + 5**0.5) / 2
LUMP = np.array(
    [
        (-1, GOLDEN, 0), (1, GOLDEN, 0), (-1, -GOLDEN, 0), (1, -GOLDEN, 0),
        (0, -1, GOLDEN), (0, 1, GOLDEN), (0, -1, -GOLDEN), (0, 1, -GOLDEN),
        (GOLDEN, 0, -1), (GOLDEN, 0, 1), (-GOLDEN, 0, -1), (-GOLDEN, 0, 1),
    ]
) / np.sqrt(1 + GOLDEN**2)  # fmt: skip
LUMP_FACES = np.array(
    [
        (0, 11, 5), (0, 5, 1), (0, 1, 7), (0, 7, 10), (0, 10, 11), (1, 5, 9), (5, 11, 4),
        (11, 10, 2), (10, 7, 6), (7, 1, 8), (3, 9, 4), (3, 4, 2), (3, 2, 6), (3, 6, 8),
        (3, 8, 9), (4, 9, 5), (2, 4, 11), (6, 2, 10), (8, 6, 7), (9, 8, 1),
    ]
)  # fmt: skip


class Sheets:
    """Gathers quads of many colours and materials into one mesh, in the frame of a front wall.

    x runs along the wall, z up, and -y out of it, towards whoever looks at the front.
    """

    def __init__(self) -> None:
        self.corners: list[np.ndarray] = []
        self.uv: list[np.ndarray] = []
        self.looks: list[tuple] = []

    def quad(self, corners, colour, material: Material, uv=None, style=0.0) -> None:
        """Counter-clockwise from outside, from the lower left; `uv` by default in metres."""
        corners = np.asarray(corners, np.float64)
        if uv is None:
            wide = np.linalg.norm(corners[1] - corners[0])
            high = np.linalg.norm(corners[3] - corners[0])
            uv = np.array([(0, 0), (wide, 0), (wide, high), (0, high)])
        self.corners.append(corners)
        self.uv.append(np.asarray(uv, np.float64))
        self.looks.append((*colour, int(material), float(style)))

    def front(self, x, z, y, colour, material: Material, uv=None, style=0.0) -> None:
        """A rectangle that faces -y, x and z are (low, high); uv are x and z."""
        if x[1] - x[0] < 1e-6 or z[1] - z[0] < 1e-6:
            return
        corners = [(x[0], y, z[0]), (x[1], y, z[0]), (x[1], y, z[1]), (x[0], y, z[1])]
        uv = [(c[0], c[2]) for c in corners] if uv is None else uv
        self.quad(corners, colour, material, uv, style)

    def side(self, x, y, z, colour, material: Material) -> None:
        """A rectangle across the wall at x over y from y[0] to y[1]: to +x if that is backwards.

        That is: y rising faces +x, y falling faces -x.
        """
        corners = [(x, y[0], z[0]), (x, y[1], z[0]), (x, y[1], z[1]), (x, y[0], z[1])]
        self.quad(corners, colour, material, [(c[1], c[2]) for c in corners])

    def flat(self, x, y, z, colour, material: Material, up: bool = True) -> None:
        """A level rectangle seen from above, or from below."""
        corners = [(x[0], y[0], z), (x[1], y[0], z), (x[1], y[1], z), (x[0], y[1], z)]
        corners = corners if up else corners[::-1]
        self.quad(corners, colour, material, [(c[0], c[1]) for c in corners])

    def block(self, x, y, z, colour, material: Material, faces: str = "fblrtu", style=0.0) -> None:
        """A box; `faces`: front (-y), back, left (-x), right, top, under."""
        if "f" in faces:
            self.front(x, z, y[0], colour, material, style=style)
        if "b" in faces:
            corners = [(x[1], y[1], z[0]), (x[0], y[1], z[0]), (x[0], y[1], z[1])]
            self.quad([*corners, (x[1], y[1], z[1])], colour, material, style=style)
        if "l" in faces:
            self.side(x[0], y[::-1], z, colour, material)
        if "r" in faces:
            self.side(x[1], y, z, colour, material)
        if "t" in faces:
            self.flat(x, y, z[1], colour, material)
        if "u" in faces:
            self.flat(x, y, z[0], colour, material, up=False)

    def mesh(self) -> Mesh:
        """All quads, two triangles each."""
        n = len(self.corners)
        looks = np.repeat(np.array(self.looks), 2, axis=0)
        start = 4 * np.arange(n)[:, None]
        triangles = np.concatenate([start + (0, 1, 2), start + (0, 2, 3)], 1).reshape(-1, 3)
        return Mesh(
            np.concatenate(self.corners),
            np.zeros((4 * n, 3)),
            np.concatenate(self.uv),
            triangles,
            looks[:, :3],
            looks[:, 3].astype(np.int64),
            looks[:, 4],
            np.zeros(2 * n, np.int64),
        )


def slab(size, colour, material=Material.PLAIN, base=(0, 0, 0), style=0.0) -> Mesh:
    """A box with its underside, for what hangs over one's head; `base` as in mesh.box."""
    shell = box(size, colour, material, base, style=style)
    x, y, z = base
    lx, ly = size[0] / 2, size[1] / 2
    corners = [(x - lx, y - ly, z), (x - lx, y + ly, z), (x + lx, y + ly, z), (x + lx, y - ly, z)]
    floor = make_mesh(corners, [[0, 1, 2], [0, 2, 3]], colour, material, style=style)
    return join([shell, floor])


def tube(start, end, radii, colour, material: Material, count: int = 6, caps=True) -> Mesh:
    """A round bar from `start` to `end`, its radius running from radii[0] to radii[1].

    uv are metres around and along it.
    """
    start, end = np.asarray(start, np.float64), np.asarray(end, np.float64)
    axis = end - start
    length = np.linalg.norm(axis)
    axis /= length
    a = np.cross(axis, (0, 0, 1) if abs(axis[2]) < 0.9 else (1, 0, 0))
    a /= np.linalg.norm(a)
    b = np.cross(axis, a)
    angle = np.arange(count) * 2 * np.pi / count
    ring = np.cos(angle)[:, None] * a + np.sin(angle)[:, None] * b
    vertices = np.concatenate([start + radii[0] * ring, end + radii[1] * ring])
    around = np.arange(count)
    turn = (around + 1) % count
    triangles = [np.c_[around, turn, turn + count], np.c_[around, turn + count, around + count]]
    if caps:
        fan = np.arange(1, count - 1)
        zeros = np.zeros_like(fan)
        triangles += [np.c_[zeros, fan + 1, fan]]
        triangles += [np.c_[zeros + count, fan + count, fan + 1 + count]]
    uv = np.c_[np.tile(angle * max(radii), 2), np.repeat(np.array((0.0, length)), count)]
    return make_mesh(vertices, np.concatenate(triangles), colour, material, uv)


def lump(
    rng: np.random.Generator, radii, colour, material: Material, centre=(0, 0, 0), rough=0.15
) -> Mesh:
    """A knobbly round body of 20 triangles."""
    reach = 1 + rough * rng.uniform(-1, 1, (len(LUMP), 1))
    vertices = LUMP * reach * np.asarray(radii) + centre
    return make_mesh(vertices, LUMP_FACES, colour, material)


def tinted(rng: np.random.Generator, colours, spread: float = 0.25) -> Float[np.ndarray, "3"]:
    """One of some colours, lighter or darker by up to `spread`."""
    colours = np.asarray(colours, np.float64)
    return np.clip(colours[rng.integers(len(colours))] * rng.uniform(1 - spread, 1 + spread), 0, 1)
