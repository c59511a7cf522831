"""Every reader against bad input: a typed error, or a counted repair and the rest unharmed."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from driv3r.errors import Driv3rError
from tests.faults.matrix import READER_FAULTS
from tests.faults.rows import BAD_INPUT, ReaderFault, pattern
from tests.faults.subjects import (
    SMALL_HW,
    SUBJECTS,
    Reading,
    Subject,
    read_everything,
    same,
    thinner,
)

BY_NAME = {subject.name: subject for subject in SUBJECTS}
Whole = Callable[[Subject], tuple[Path, Reading]]


@pytest.fixture(autouse=True)
def _small_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("driv3r.datasets.pandaset.reader.SIZE_HW", SMALL_HW)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """A subject's folder, not to be changed, and what is read of it."""
    made: dict[str, tuple[Path, Reading]] = {}

    def of(subject: Subject) -> tuple[Path, Reading]:
        if subject.name not in made:
            root = subject.write(tmp_path_factory.mktemp("whole") / "root")
            made[subject.name] = (root, read_everything(subject, root))
        return made[subject.name]

    return of


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)
def test_the_whole_datasets_have_no_fault(whole: Whole, subject: Subject) -> None:
    _, reading = whole(subject)
    assert reading.repairs == ()
    sensors = len(reading.scene.rig.cameras) + 1
    assert len(reading.given) == len(reading.scene.frames) * sensors


@pytest.mark.parametrize(
    "row", READER_FAULTS, ids=lambda row: f"{row.subject}: {row.kind}: {row.what}"
)
def test_a_reader_refuses_or_repairs(whole: Whole, tmp_path: Path, row: ReaderFault) -> None:
    subject = BY_NAME[row.subject]
    pristine, expected = whole(subject)
    root = Path(shutil.copytree(pristine, tmp_path / "root"))
    row.harm(root)
    if row.outcome == "error":
        with pytest.raises(Driv3rError) as caught:
            read_everything(subject, root)
        assert type(caught.value) is row.error
        assert pattern(row.says).search(str(caught.value)), caught.value
        return
    reading = read_everything(subject, root)
    check_rest(row, reading, expected)
    if row.outcome == "same":
        assert reading.repairs == ()
    else:
        assert any(pattern(row.says).search(text) for text in reading.repairs), reading.repairs


def check_rest(row: ReaderFault, reading: Reading, expected: Reading) -> None:
    """What is lost is absent, and all else as in the whole dataset."""
    assert len(reading.scene.frames) == (row.frames or len(expected.scene.frames))
    assert expected.given.keys() - reading.given.keys() == set(row.lost)
    for key, datum in reading.given.items():
        if row.thinned is not None and key == (row.thinned, "lidar"):
            assert thinner(datum, expected.given[key])
        else:
            assert same(datum, expected.given[key]), key


def test_no_code_of_a_pickle_was_run() -> None:
    assert not Path("/tmp/driv3r-was-run").exists()


def test_every_reader_meets_every_kind_of_bad_input() -> None:
    kinds: dict[str, set[str]] = {}
    for row in READER_FAULTS:
        kinds.setdefault(row.subject, set()).add(row.kind)
    assert set(kinds) == set(BY_NAME)
    for name, met in kinds.items():
        assert met <= set(BAD_INPUT)
        if not BY_NAME[name].boxes:  # their rows have no units that can be told and no order
            assert met == set(BAD_INPUT), name
