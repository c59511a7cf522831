"""Rules of the house that no linter knows: sizes of folders, files and functions, and names."""

import ast
import re
from pathlib import Path

TOP = Path(__file__).parents[1]
PACKAGE = TOP / "driv3r"
FILES = sorted(PACKAGE.rglob("*.py"))
MOST_FILES, MOST_LINES, MOST_OF_FUNCTION = 15, 400, 40
LONG_FUNCTIONS = {"cli/app.py: process"}  # an option a line
RETIRED = re.compile(  # docs/glossary.md has the field's terms
    r"\b(Looker|Sight|Ruler|RigRuler|SeedStreamer|FineLook|FlowMotion|MonoPoints|Clue|Painter|Moment|"
    r"Glance|Sightings|Lenses|EgoSweep|StarCross|Theatre|Wardrobe|WorldRecipe|ClipRecipe|Crew|"
    r"Journal|DepthLadder|hash_code|run_key|agree_on_motion|hypothesise_motions|krige|resect)\b"
)


def test_folders_files_and_functions_can_be_overseen():
    for folder in {path.parent for path in FILES}:
        assert len(list(folder.glob("*.py"))) <= MOST_FILES, folder
    for path in FILES:
        text = path.read_text()
        assert text.count("\n") <= MOST_LINES, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                name = f"{path.relative_to(PACKAGE)}: {node.name}"
                body = [n for n in node.body if not isinstance(n, ast.Expr)] or node.body
                lines = (node.end_lineno or 0) - body[0].lineno + 1
                assert lines <= MOST_OF_FUNCTION or name in LONG_FUNCTIONS, name


def test_no_module_is_named_for_nothing():
    names = {path.stem for path in FILES}
    assert not names & {"utils", "util", "helpers", "helper", "common", "misc", "manager"}


def test_retired_names_stay_retired():
    for folder in ("driv3r", "tools", "benchmarks"):
        for path in (TOP / folder).rglob("*.py"):
            assert not RETIRED.search(path.read_text()), path
