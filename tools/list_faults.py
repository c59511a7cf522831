"""Write docs/faults.md from the fault matrix of the tests.

python tools/list_faults.py
"""

import sys
from pathlib import Path

TOP = Path(__file__).parents[1]
PAGE = TOP / "docs" / "faults.md"
INTRO = """\
# What comes of bad input and bad luck

Every reader, command and stage is tried against bad input and bad luck. There are two outcomes. A
typed error says in one line what was given, what was expected and the remedy; a command then ends
with status 2, or with 1 where some logs failed and the others are done. A counted repair leaves out
what is damaged, reads the rest as it is, and stands in the log's record and the report. There is
never a traceback, and never a figure that was made of damaged data.

The tables are made from the rows of tests/faults by `python tools/list_faults.py`; each row is a
test. `...` in a message stands for paths and numbers. A dataset's row is tried on a folder of a few
small images, where one file or entry is harmed: readers list the scenes, read one and index all of
its frames. What is left out is absent, and all other images, sweeps, times and poses are as in the
whole folder.

Some damage can not be told from data: a JPEG whose pixel data are changed and still decode, a wrong
calibration that is a possible one, and times or poses that are wrong for all sensors alike and that
a car could drive. Neither can a car that stands tell metres from millimetres by its ego poses.
"""


def make_page() -> str:
    """The page: a table for each subject, rows in the matrix's order."""
    sys.path.insert(0, str(TOP))
    try:
        from tests.faults.matrix import ROWS
    finally:
        sys.path.remove(str(TOP))
    lines = [INTRO]
    for subject in dict.fromkeys(row.subject for row in ROWS):
        lines += [f"## {subject}", "", "| kind | what is wrong | what happens |", "|---|---|---|"]
        rows = [row for row in ROWS if row.subject == subject]
        lines += [f"| {row.kind} | {row.what} | {row.happens()} |" for row in rows]
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(make_page())
    print(PAGE)
