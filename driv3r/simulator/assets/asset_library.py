"""A store of ready things: each is made once a process, from its number, and placed many times."""

from functools import cache

import numpy as np

from driv3r.simulator.assets.buildings import buildings
from driv3r.simulator.assets.mesh import Mesh
from driv3r.simulator.assets.people import pedestrians
from driv3r.simulator.assets.street import plants, street_furniture
from driv3r.simulator.assets.vehicles import cars, trucks_buses

CARS, HEAVIES, PEOPLE, CYCLISTS, TREES, BUSHES, BUILDINGS = 150, 50, 48, 12, 40, 20, 90
PHASES = 8
HEAVY_MAKERS = {
    "vehicle.truck": (trucks_buses.make_truck, trucks_buses.make_van),
    "vehicle.bus.rigid": (trucks_buses.make_bus,),
}


def _rng(kind: int, number: int) -> np.random.Generator:
    return np.random.default_rng([9, kind, number])


@cache
def car(number: int) -> Mesh:
    """A car."""
    return cars.make_car(_rng(0, number))


@cache
def heavy_vehicle(number: int) -> tuple[str, Mesh]:
    """A van, truck or bus, with its nuScenes category."""
    rng = _rng(1, number)
    category = "vehicle.bus.rigid" if rng.random() < 0.2 else "vehicle.truck"
    makers = HEAVY_MAKERS[category]
    return category, makers[int(rng.integers(len(makers)))](rng)


@cache
def walker(number: int) -> tuple[Mesh, ...]:
    """A person over the phases of a stride."""
    return tuple(pedestrians.make_person(_rng(2, number), k / PHASES) for k in range(PHASES))


@cache
def stander(number: int) -> Mesh:
    """A person who stands."""
    return pedestrians.make_person(_rng(3, number), None)


@cache
def cyclist(number: int) -> tuple[Mesh, ...]:
    """A person on a bicycle over the phases of a turn of the pedals."""
    return tuple(pedestrians.make_cyclist(_rng(4, number), k / PHASES) for k in range(PHASES))


@cache
def motorcycle(number: int) -> Mesh:
    """A motorcycle with its rider."""
    return cars.make_motorcycle(_rng(5, number))


@cache
def tree(number: int) -> Mesh:
    """A tree."""
    return plants.make_tree(_rng(6, number))


@cache
def bush(number: int) -> Mesh:
    """A bush."""
    return plants.make_bush(_rng(7, number))


@cache
def city_house(number: int) -> tuple[float, Mesh]:
    """A house in a row, and its width."""
    rng = _rng(8, number)
    width = float(rng.uniform(8, 26))
    height = float(rng.uniform(5, 14) if rng.random() < 0.5 else rng.uniform(12, 34))
    return width, buildings.make_building(rng, width, float(rng.uniform(9, 15)), height)


@cache
def detached_house(number: int) -> tuple[float, Mesh]:
    """A house that stands alone, and its width."""
    house = buildings.make_house(_rng(9, number))
    return float(np.ptp(house.vertices[:, 0])), house


@cache
def hall(number: int) -> tuple[float, Mesh]:
    """A wide low building beside a highway or a car park, and its width."""
    rng = _rng(10, number)
    width = float(rng.uniform(25, 60))
    return width, buildings.make_building(rng, width, 24.0, float(rng.uniform(5, 11)))


@cache
def far_block(number: int) -> Mesh:
    """A block seen over the roofs."""
    rng = _rng(11, number)
    size = float(rng.uniform(18, 45)), 20.0, float(rng.uniform(8, 55))
    return buildings.make_far_block(rng, *size)


@cache
def grass_tufts(number: int) -> Mesh:
    """Ten metres of tufts along a verge, 4 m deep."""
    return plants.make_grass_tufts(_rng(13, number), 10.0, 4.0)


@cache
def far_trees(number: int) -> Mesh:
    """Forty metres of a wood's edge."""
    return plants.make_far_trees(_rng(12, number), 40.0)


@cache
def small_thing(kind: int, number: int) -> Mesh:
    """Street furniture of a kind: an index into SMALL."""
    return SMALL[kind](_rng(20 + kind, number))


SMALL = (
    street_furniture.make_sign,
    street_furniture.make_bin,
    street_furniture.make_bench,
    street_furniture.make_bus_stop,
    street_furniture.make_kiosk,
    street_furniture.make_hydrant,
    street_furniture.make_bike_rack,
    street_furniture.make_planter,
)


def lengthy(rng: np.random.Generator, kind: int) -> Mesh:
    """A hedge, fence, barrier or row of bollards, 6 m long."""
    return _lengthy(kind, int(rng.integers(12)))


@cache
def _lengthy(kind: int, number: int) -> Mesh:
    return LENGTHY[kind](_rng(40 + kind, number), 6.0)


LENGTHY = (
    plants.make_hedge,
    street_furniture.make_fence,
    street_furniture.make_barrier,
    street_furniture.make_bollards,
)
