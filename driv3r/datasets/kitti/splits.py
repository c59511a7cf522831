"""Names of KITTI's splits: sequences of the odometry benchmark, drives of Eigen et al. (2014).

The drives of Eigen's 697 test images are 28, those of his training are 33.
"""

from collections.abc import Mapping, Sequence

from driv3r.errors import ConfigError, DatasetError

SEQUENCES = {
    "train": tuple(f"{n:02d}" for n in range(11)),
    "test": tuple(f"{n:02d}" for n in range(11, 22)),
}
_TEST = {
    "2011_09_26": (
        "0002 0009 0013 0020 0023 0027 0029 0036 0046 0048 0052 0056 0059 0064 0084 0086 0093 0096 "
        "0101 0106 0117"
    ),
    "2011_09_28": "0002",
    "2011_09_29": "0071",
    "2011_09_30": "0016 0018 0027",
    "2011_10_03": "0027 0047",
}
_TRAIN = {
    "2011_09_26": (
        "0001 0005 0011 0014 0015 0017 0018 0019 0022 0028 0032 0035 0039 0051 0057 0060 0061 0070 "
        "0079 0087 0091 0095 0104 0113"
    ),
    "2011_09_28": "0001",
    "2011_09_29": "0004 0026",
    "2011_09_30": "0020 0028 0033 0034",
    "2011_10_03": "0034 0042",
}


def _name_drives(of_day: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(
        f"{date}_drive_{number}_sync"
        for date, numbers in of_day.items()
        for number in numbers.split()
    )


EIGEN = {"eigen_train": _name_drives(_TRAIN), "eigen_test": _name_drives(_TEST)}


def choose_scenes(
    split: str, held: Sequence[str], known: Mapping[str, Sequence[str]], where: str
) -> tuple[str, ...]:
    """The scenes of a split that are there: `all`, a known one, or a scene by its name.

    Raises ConfigError on another name, DatasetError where nothing of a known split is there.
    """
    if split == "all":
        return tuple(held)
    if split in held:
        return (split,)
    if split not in known:
        some = ", ".join(held[:5]) + (", ..." if len(held) > 5 else "")
        raise ConfigError(
            f"unknown split {split!r}; known are all, {', '.join(known)}, and each by its name "
            f"({some})"
        )
    found = tuple(name for name in known[split] if name in held)
    if not found:
        raise DatasetError(
            f"{where} holds nothing of split {split!r} ({', '.join(known[split][:3])}, ...); it "
            f"holds {', '.join(held[:5])}. Take them with --split all"
        )
    return found
