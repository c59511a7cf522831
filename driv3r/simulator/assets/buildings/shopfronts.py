"""Ground floors of city houses: shops, entrances, arcades, gates; in the frame of a front wall."""

import numpy as np

from driv3r.simulator.assets.buildings.facades import INSIDE, Look, panes, pierced, reveal, window
from driv3r.simulator.assets.mesh import Material, Mesh, join, smooth
from driv3r.simulator.assets.primitives import Sheets, tinted, tube

SIGN_COLOURS = (
    (0.45, 0.03, 0.03), (0.03, 0.08, 0.35), (0.03, 0.2, 0.08), (0.7, 0.55, 0.05),
    (0.03, 0.03, 0.035), (0.7, 0.7, 0.68), (0.5, 0.15, 0.02), (0.15, 0.03, 0.2),
)  # fmt: skip
DOORS = ((0.12, 0.05, 0.03), (0.03, 0.08, 0.06), (0.05, 0.06, 0.1), (0.3, 0.3, 0.3))


def ground_floor(
    rng: np.random.Generator, sheets: Sheets, look: Look, bays, high: float, y: float, kind: str
) -> None:
    """Bays between the edges given: "shops", "homes", or a glass "lobby"."""
    for k, x in enumerate(zip(bays[:-1], bays[1:], strict=True)):
        if kind == "homes":
            if k == len(bays) // 2 - 1 or rng.random() < 0.12:
                entrance(rng, sheets, look, x, high, y)
            else:
                home_windows(rng, sheets, look, x, high, y)
        elif kind == "lobby":
            shop(rng, sheets, look, x, high, y, named=False)
        elif rng.random() < 0.1:
            shutter(rng, sheets, look, x, high, y)
        elif rng.random() < 0.12:
            entrance(rng, sheets, look, x, high, y)
        else:
            shop(rng, sheets, look, x, high, y, named=True)


def home_windows(rng: np.random.Generator, sheets: Sheets, look: Look, x, high, y: float) -> None:
    """Ground-floor windows of a house of flats."""
    count = max(1, round((x[1] - x[0]) / look.pitch_m))
    edges = np.linspace(x[0], x[1], count + 1)
    low, top = 1.0, min(high - 0.5, 1.0 + look.high - look.low)
    gap = (edges[1] - edges[0]) * (0.5 - look.wide)
    holes = [(a + gap, b - gap, low, top) for a, b in zip(edges[:-1], edges[1:], strict=True)]
    pierced(sheets, look, x, (0.0, high), y, holes)
    for hole in holes:
        window(rng, sheets, look, hole, y)


def entrance(rng: np.random.Generator, sheets: Sheets, look: Look, x, high, y: float) -> None:
    """A house door deep in its porch, with a step, a fanlight and a small roof."""
    middle, half = (x[0] + x[1]) / 2, min(0.75, (x[1] - x[0]) / 2 - 0.15)
    hole = (middle - half, middle + half, 0.0, min(2.9, high - 0.4))
    deep = y + float(rng.uniform(0.35, 0.8))
    pierced(sheets, look, x, (0.0, high), y, [hole])
    reveal(sheets, hole, (y, deep), look.trim, Material.PLAIN)
    door = tinted(rng, DOORS)
    sheets.front(hole[:2], hole[2:], deep, look.frame, Material.PLAIN)
    sheets.front((hole[0] + 0.1, middle - 0.02), (0.05, 2.15), deep - 0.03, door, Material.PLAIN)
    sheets.front((middle + 0.02, hole[1] - 0.1), (0.05, 2.15), deep - 0.03, door, Material.PLAIN)
    light = (hole[0] + 0.1, hole[1] - 0.1), (2.25, hole[3] - 0.08)
    sheets.front(*light, deep - 0.02, INSIDE, Material.GLASS)
    sheets.block((hole[0] - 0.1, hole[1] + 0.1), (y - 0.4, y), (-0.3, 0.12), look.trim * 0.8,
                 Material.CONCRETE, "flrt")  # fmt: skip
    if rng.random() < 0.6:
        roof = (hole[0] - 0.25, hole[1] + 0.25), (y - 0.9, y), (hole[3] + 0.1, hole[3] + 0.24)
        sheets.block(*roof, look.trim, Material.CONCRETE, "flrtu")


def shutter(rng: np.random.Generator, sheets: Sheets, look: Look, x, high, y: float) -> None:
    """A rolled-down gate or a garage door."""
    hole = (x[0] + 0.35, x[1] - 0.35, 0.0, high - 0.9)
    pierced(sheets, look, x, (0.0, high), y, [hole])
    reveal(sheets, hole, (y, y + 0.3), look.wall * 0.8, look.material)
    tone = np.full(3, rng.uniform(0.15, 0.5))
    uv = [(0, 0), (0, hole[1] - hole[0]), (hole[3], hole[1] - hole[0]), (hole[3], 0)]
    sheets.front(hole[:2], hole[2:], y + 0.3, tone, Material.METAL, uv)


def shop(
    rng: np.random.Generator, sheets: Sheets, look: Look, x, high, y: float, named: bool
) -> None:
    """A window front beside a set-back door; a sign above, perhaps an awning or a hanging sign."""
    head = high - (0.95 if named else 0.35)
    hole = (x[0] + 0.25, x[1] - 0.25, 0.0, head)
    pierced(sheets, look, x, (0.0, high), y, [hole])
    frame = tinted(rng, (*DOORS, (0.02, 0.02, 0.02), (0.5, 0.5, 0.5)))
    recess, deep = y + float(rng.uniform(0.12, 0.45)), y + float(rng.uniform(0.6, 1.3))
    door = min(1.3, 0.4 * (hole[1] - hole[0]))
    left = bool(rng.random() < 0.5)
    cut = hole[0] + door if left else hole[1] - door
    doorway = (hole[0], cut) if left else (cut, hole[1])
    show = (cut, hole[1]) if left else (hole[0], cut)
    riser = float(rng.uniform(0.1, 0.7))
    reveal(sheets, (*doorway, 0.0, head), (y, deep), look.wall * 0.85, look.material)
    panes(rng, sheets, (*doorway, 0.0, head), deep, frame, 1, 0.1)
    reveal(sheets, (*show, 0.0, head), (y, recess), look.wall * 0.85, look.material)
    sheets.front(show, (0.0, riser), recess - 0.04, frame, Material.PLAIN)
    sheets.flat(show, (recess - 0.04, recess), riser, frame, Material.PLAIN)
    panes(
        rng, sheets, (*show, riser, head), recess, frame, max(1, round((show[1] - show[0]) / 1.6))
    )
    if named:
        _name(rng, sheets, hole, head, y)


def _name(rng: np.random.Generator, sheets: Sheets, hole, head: float, y: float) -> None:
    """A shop's sign board, and perhaps its awning and hanging sign."""
    colour = tinted(rng, SIGN_COLOURS)
    out = float(rng.uniform(0.08, 0.25))
    span = (hole[0] - 0.1, hole[1] + 0.1)
    sheets.block(span, (y - out, y), (head + 0.1, head + 0.75), colour, Material.SIGN, "f",
                 float(rng.random()))  # fmt: skip
    sheets.block(
        span, (y - out, y), (head + 0.1, head + 0.75), colour * 0.6, Material.PLAIN, "lrtu"
    )
    if rng.random() < 0.4:
        awning(rng, sheets, span, head + 0.05, y)
    if rng.random() < 0.35:
        at_x = hole[0] - 0.05
        blade = (at_x, at_x + 0.12), (y - 1.0, y - 0.2), (head + 0.9, head + 1.7)
        sheets.block(
            *blade, tinted(rng, SIGN_COLOURS), Material.SIGN, "fblrtu", float(rng.random())
        )


def awning(rng: np.random.Generator, sheets: Sheets, x, z: float, y: float) -> None:
    """A sloping cloth with a valance and cheeks, striped or plain."""
    out, drop = float(rng.uniform(0.9, 1.7)), float(rng.uniform(0.35, 0.8))
    low = max(z - drop, 2.2)
    front = y - out
    striped = rng.random() < 0.3
    look = (tinted(rng, SIGN_COLOURS), Material.STRIPES if striped else Material.CLOTH)
    top = [(x[0], front, low), (x[1], front, low), (x[1], y, z), (x[0], y, z)]
    sheets.quad(top, *look)
    sheets.front(x, (low - 0.22, low), front, *look)
    for side in x:
        cheek = [(side, front, low), (side, y, low), (side, y, z), (side, front, low)]
        sheets.quad(cheek if side == x[1] else cheek[::-1], *look)


def arcade(
    rng: np.random.Generator, sheets: Sheets, look: Look, bays, high: float, deep: float
) -> list[Mesh]:
    """Columns and beams before a ground floor that is set back by `deep`; a ceiling over it."""
    x = (bays[0], bays[-1])
    beam = high - float(rng.uniform(0.5, 0.9))
    sheets.block(x, (0.0, 0.5), (beam, high), look.wall, look.material, "fbu")
    sheets.flat(x, (0.5, deep), beam + 0.25, look.trim, Material.PLAIN, up=False)
    sheets.flat(x, (0.0, deep), 0.03, (0.25, 0.25, 0.25), Material.CONCRETE)
    for side, y in ((x[0], (0.0, deep)), (x[1], (deep, 0.0))):
        sheets.side(side, y, (beam, high), look.wall, look.material)
    round_ones = rng.random() < 0.55
    columns = []
    for at_x in np.clip(bays, x[0] + 0.3, x[1] - 0.3):
        block = (at_x - 0.3, at_x + 0.3), (0.0, 0.55)
        if not round_ones:
            sheets.block(*block, (-1.5, beam), look.wall, look.material, "fblr")
            continue
        shaft = tube((at_x, 0.28, 0.3), (at_x, 0.28, beam - 0.25), (0.24, 0.2), look.trim,
                     Material.CONCRETE, 9, False)  # fmt: skip
        columns.append(smooth(shaft))
        sheets.block(*block, (-1.5, 0.3), look.trim, Material.CONCRETE, "fblrt")
        sheets.block(*block, (beam - 0.25, beam), look.trim, Material.CONCRETE, "fblru")
    return [join(columns)] if columns else []
