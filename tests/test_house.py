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
    r"\b(Looker|Sight|Ruler|RigRuler|SeedStreamer|FineLook|FlowMotion|MonoPoints|Clue|Painter|"
    r"Moment|Glance|Sightings|Lenses|EgoSweep|StarCross|Theatre|Wardrobe|WorldRecipe|"
    r"ClipRecipe|Crew|Journal|DepthLadder|hash_code|run_key|agree_on_motion|"
    r"hypothesise_motions|parallax_filter|krige|resect|Told|Spin|make_spin|leave_out|all_meet|KnownPrior|"
    r"NOTHING|landscape_only|lay_down|likeness|sureness|most_alike|least_attention|Splats|"
    r"GSHead|StarNet|carriers|PointExchange|tell_cameras|find_cameras|measure_depth|"
    r"locate_points|choose_model|choose_aligner|describe_ours|around_middles|middle_log_depth|"
    r"make_lenses|START|RATE_UNITS|sweep_log_chance|HypothesisVotes|DOUBTS|PLAUSIBLE|ladder|"
    r"looker|ruler|_look_at|ask_pair|NOWHERE|place_last|find_camera|carry_on|find_again|"
    r"choose_best|INDEPENDENT|_sum_up|WorkFrame|choose_frame|tell_known|descend|roughness|"
    r"drift_px|ResectionConfig|resect_without_focal|_equalise|weigh_clues|log_zoom|"
    r"drive_times|drive_along|drive_lanes|MAKERS|line_up|smear|print_film|_soil|_move_spots|"
    r"Verdict|START_MPS|rooms|Lanes)\b"
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
