"""The report's charts as inline SVG; colours are classes of the page's style sheet."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from driv3r.evaluation.records import Path2D

WIDTH = 640
PLAN_WIDTH, PLAN_MARGIN = 560, 36
PLAN_LOWEST, PLAN_HIGHEST = 200, 420  # of the drawing and of the path in it
COLOURS = 8  # classes c0..c7 of the style sheet
TRUE_NAMES = ("truth", "true", "given")


def format_number(value: float | int) -> str:
    """Three significant digits, thousands apart, `-` for NaN."""
    if math.isnan(value):
        return "-"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if abs(value) >= 99.95:
        return f"{value:,.0f}"
    return f"{value:#.3g}"


def format_duration(seconds: float | int) -> str:
    """Seconds, minutes or hours, whichever reads best."""
    if not math.isfinite(seconds) or seconds < 59.95:
        return f"{format_number(seconds)} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def draw_bars(bars: Sequence[tuple[str, float, str]]) -> Markup:
    """Horizontal bars from zero: (label, value, class); a value that is not finite has no bar."""
    row, left, right = 34, 170, 64
    longest = max((v for _, v, _ in bars if math.isfinite(v)), default=0.0) or 1.0
    parts = []
    for i, (label, value, kind) in enumerate(bars):
        length = max(value, 0.0) / longest * (WIDTH - left - right) if math.isfinite(value) else 0.0
        middle = i * row + row / 2
        parts.append(
            f'<text x="{left - 12}" y="{middle + 5:.1f}" text-anchor="end">'
            f"{escape(_shorten(label))}</text>"
            f'<rect class="{kind}" x="{left}" y="{i * row + 6}" width="{length:.1f}" '
            f'height="{row - 12}" rx="3" />'
            f'<text class="value" x="{left + length + 8:.1f}" y="{middle + 5:.1f}">'
            f"{format_number(value)}</text>"
        )
    axis = f'<line class="axis" x1="{left}" y1="2" x2="{left}" y2="{len(bars) * row - 2}" />'
    return _svg(WIDTH, len(bars) * row, axis + "".join(parts), "bars")


def draw_reliability(curves: Sequence[tuple[str, dict[int, float]]]) -> Markup:
    """How many truths lie in the stated central intervals: (label, {stated %: share}) a curve.

    On the diagonal the stated uncertainty is what it says; below it, it is too sure. Empty without
    a curve.
    """
    known = [
        (label, {q: share for q, share in curve.items() if math.isfinite(share)})
        for label, curve in curves
    ]
    known = [(label, curve) for label, curve in known if curve]
    if not known:
        return Markup("")
    side, edge = 300, 46
    parts = [f'<line class="zero" x1="{edge}" y1="{side}" x2="{edge + side}" y2="0" />']
    for q in (0, 25, 50, 75, 100):
        at = q / 100 * side
        parts.append(
            f'<line class="grid" x1="{edge + at}" y1="0" x2="{edge + at}" y2="{side}" />'
            f'<line class="grid" x1="{edge}" y1="{side - at}" x2="{edge + side}" '
            f'y2="{side - at}" />'
            f'<text class="tick" x="{edge + at}" y="{side + 15}" text-anchor="middle">{q} %</text>'
            f'<text class="tick" x="{edge - 6}" y="{side - at + 4}" text-anchor="end">{q} %</text>'
        )
    legend = []
    for i, (label, curve) in enumerate(known):
        kind = f"line l{i % COLOURS}"
        places = [(0.0, 0.0), *((q / 100, share) for q, share in sorted(curve.items())), (1.0, 1.0)]
        points = " ".join(f"{edge + x * side:.1f},{side - y * side:.1f}" for x, y in places)
        parts.append(f'<polyline class="{kind}" points="{points}" />')
        parts += [
            f'<circle class="{kind} end" cx="{edge + x * side:.1f}" '
            f'cy="{side - y * side:.1f}" r="4">'
            f"<title>{escape(label)}: {y:.0%} in the stated {x:.0%}</title></circle>"
            for x, y in places[1:-1]
        ]
        legend.append(f'<li><span class="swatch {kind}"></span>{escape(label)}</li>')
    labels = (
        f'<text class="tick" x="{edge + side / 2}" y="{side + 32}" text-anchor="middle">'
        "stated interval</text>"
        f'<text class="tick" transform="rotate(-90)" x="{-side / 2}" y="10" text-anchor="middle">'
        "truths inside</text>"
    )
    body = f'<g transform="translate(0 12)">{"".join(parts)}{labels}</g>'
    plot = _svg(edge + side + 22, side + 52, body, "reliability")
    return plot + Markup('<ul class="legend">' + "".join(legend) + "</ul>")


def _shorten(text: str, longest: int = 22) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def draw_stages(seconds: dict[str, float], colours: dict[str, int]) -> Markup:
    """One stacked bar of the seconds a stage took, and its legend. Empty without any time."""
    known = {k: s for k, s in seconds.items() if math.isfinite(s) and s > 0}
    total = sum(known.values())
    if not total:
        return Markup("")
    start, parts, legend = 0.0, [], []
    for stage, s in known.items():
        kind, length = f"c{colours[stage] % COLOURS}", s / total * WIDTH
        tip = f"{escape(stage)}: {format_duration(s)}, {s / total:.0%}"
        parts.append(
            f'<rect class="{kind}" x="{start:.2f}" y="0" width="{length:.2f}" height="16">'
            f"<title>{tip}</title></rect>"
        )
        legend.append(
            f'<li><span class="swatch {kind}"></span>{escape(stage)} '
            f"<b>{format_duration(s)}</b></li>"
        )
        start += length
    bar = _svg(WIDTH, 16, "".join(parts), "stages")
    return bar + Markup('<ul class="legend">' + "".join(legend) + "</ul>")


@dataclass(frozen=True)
class _Plan:
    """Where metres land on the drawing: one scale for both axes, y up."""

    centre_m: tuple[float, float]
    px_per_m: float
    height: float | int

    def place(self, x_m: float | int, y_m: float | int) -> tuple[float, float]:
        dx, dy = x_m - self.centre_m[0], y_m - self.centre_m[1]
        return PLAN_WIDTH / 2 + dx * self.px_per_m, self.height / 2 - dy * self.px_per_m


def draw_paths(paths: Sequence[Path2D]) -> Markup:
    """Drives from above on a grid of metres, one scale for both axes. Empty without a place."""
    lines = [(path.subject, _finite_runs(path)) for path in paths]
    places = [place for _, runs in lines for run in runs for place in run]
    if not places:
        return Markup("")
    plan = _fit_plan(places)
    parts, legend, ordinal = _draw_grid(plan), [], 0
    for subject, runs in lines:
        kind = "line-true" if subject in TRUE_NAMES else f"line l{ordinal % COLOURS}"
        ordinal += subject not in TRUE_NAMES
        parts += _draw_line(plan, runs, kind)
        legend.append(f'<li><span class="swatch {kind}"></span>{escape(subject)}</li>')
    legend.append("<li>○ start</li><li>● end</li>")
    plot = _svg(PLAN_WIDTH, plan.height, "".join(parts), "plan")
    return plot + Markup('<ul class="legend">' + "".join(legend) + "</ul>")


def _fit_plan(places: Sequence[tuple[float, float]]) -> _Plan:
    """The largest scale at which every place is on the drawing; a standing car gets a metre."""
    x_m, y_m = zip(*places, strict=True)
    span_x, span_y = max(max(x_m) - min(x_m), 1.0), max(max(y_m) - min(y_m), 1.0)
    inner = PLAN_WIDTH - 2 * PLAN_MARGIN
    px_per_m = inner / max(span_x, span_y * inner / PLAN_HIGHEST)
    height = max(PLAN_LOWEST, span_y * px_per_m + 2 * PLAN_MARGIN)
    centre_m = (max(x_m) + min(x_m)) / 2, (max(y_m) + min(y_m)) / 2
    return _Plan(centre_m, px_per_m, height)


def _draw_grid(plan: _Plan) -> list[str]:
    """Lines every 1, 2 or 5 times a power of ten metres, marked along the left and lower edges."""
    step_m = nice_step(PLAN_WIDTH / plan.px_per_m)
    parts = []
    for axis, length in enumerate((PLAN_WIDTH, plan.height)):
        reach_m, centre_m = length / 2 / plan.px_per_m, plan.centre_m[axis]
        first = math.ceil((centre_m - reach_m) / step_m)
        last = math.floor((centre_m + reach_m) / step_m)
        for k in range(first, last + 1):
            at = plan.place(k * step_m, k * step_m)[axis]
            kind, text = ("zero" if k == 0 else "grid"), f"{k * step_m:g} m"
            if axis == 0:
                parts.append(
                    f'<line class="{kind}" x1="{at:.1f}" y1="0" x2="{at:.1f}" '
                    f'y2="{plan.height:.1f}" />'
                )
                label_at = f'x="{at + 3:.1f}" y="{plan.height - 4:.1f}"'
            else:
                parts.append(
                    f'<line class="{kind}" x1="0" y1="{at:.1f}" x2="{PLAN_WIDTH}" y2="{at:.1f}" />'
                )
                label_at = f'x="4" y="{at - 3:.1f}"'
            # The lower left corner belongs to the lower edge's labels; none may be cut off.
            if (axis == 0 and at < PLAN_WIDTH - 44) or (axis == 1 and 12 < at < plan.height - 18):
                parts.append(f'<text class="tick" {label_at}>{text}</text>')
    return parts


def _draw_line(plan: _Plan, runs: list[list[tuple[float, float]]], kind: str) -> list[str]:
    parts = []
    for run in runs:
        points = " ".join("{:.1f},{:.1f}".format(*plan.place(*place)) for place in run)
        parts.append(f'<polyline class="{kind}" points="{points}" />')
    if runs:
        for end, place in (("start", runs[0][0]), ("end", runs[-1][-1])):
            x, y = plan.place(*place)
            parts.append(f'<circle class="{kind} {end}" cx="{x:.1f}" cy="{y:.1f}" r="4" />')
    return parts


def nice_step(span: float | int, parts: int = 7) -> float:
    """The smallest of 1, 2, 5 times a power of ten that cuts `span` into at most `parts`."""
    rough = span / parts
    power = 10.0 ** math.floor(math.log10(rough))
    return next(f * power for f in (1, 2, 5, 10) if f * power >= rough * (1 - 1e-9))


def _finite_runs(path: Path2D) -> list[list[tuple[float, float]]]:
    """The path cut where a place is not finite, so that no line bridges the gap."""
    runs: list[list[tuple[float, float]]] = [[]]
    for x, y in zip(path.x_m, path.y_m, strict=False):
        if math.isfinite(x) and math.isfinite(y):
            runs[-1].append((x, y))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _svg(width: float | int, height: float | int, body: str, kind: str) -> Markup:
    fit = ' preserveAspectRatio="none"' if kind == "stages" else ""
    return Markup(
        f'<svg class="{kind}" viewBox="0 0 {width:g} {height:g}"{fit} role="img">{body}</svg>'
    )
