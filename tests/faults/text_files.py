"""Ways to harm a text: its lines, and the numbers in them."""

from collections.abc import Callable
from pathlib import Path

Change = Callable[[Path], object]


def _rewrite(change: Callable[[list[str]], list[str]]) -> Change:
    def harm(path: Path) -> None:
        path.write_text("\n".join(change(path.read_text().splitlines())) + "\n")

    return harm


def set_line(number: int, line: str) -> Change:
    """Another line in a line's place, counted from 0."""
    return _rewrite(lambda lines: [*lines[:number], line, *lines[number + 1 :]])


def drop(start: str) -> Change:
    """Without the lines that begin so."""
    return _rewrite(lambda lines: [line for line in lines if not line.startswith(start)])


def put_line(start: str, line: str) -> Change:
    """Another line in the place of that which begins so."""
    return _rewrite(lambda lines: [line if each.startswith(start) else each for each in lines])


def repeat(start: str) -> Change:
    """The lines that begin so, twice."""
    return _rewrite(
        lambda lines: [each for line in lines for each in [line] * (1 + line.startswith(start))]
    )


def set_number(start: str, place: int, text: str) -> Change:
    """Another word in the line that begins so, counted after its first."""

    def change(lines: list[str]) -> list[str]:
        out = []
        for line in lines:
            words = line.split(" ")
            if line.startswith(start):
                words[place + 1] = text
            out.append(" ".join(words))
        return out

    return _rewrite(change)


def set_word(place: int, text: str) -> Change:
    """Another word in a file of one line."""
    return _rewrite(
        lambda lines: [" ".join(text if i == place else w for i, w in enumerate(lines[0].split()))]
    )


def keep_first(count: int) -> Change:
    """The first lines alone."""
    return _rewrite(lambda lines: lines[:count])


def reverse(path: Path) -> None:
    """The last line first."""
    _rewrite(lambda lines: lines[::-1])(path)
