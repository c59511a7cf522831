"""docs/faults.md says what the matrix says, and no two rows are of one name."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from tests.faults.matrix import ROWS

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"


def test_the_page_is_made_from_the_matrix(load_tool: Callable[[str], ModuleType]) -> None:
    made = load_tool("list_faults").make_page()
    assert PAGE.read_text() == made, "run `python tools/list_faults.py`"


def test_rows_have_names_of_their_own() -> None:
    names = Counter((row.subject, row.kind, row.what) for row in ROWS)
    assert [name for name, count in names.items() if count > 1] == []
    assert all("|" not in row.what + row.happens().replace("\\|", "") for row in ROWS)
