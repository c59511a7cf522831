"""For the API reference: a comment behind a field or a constant is what is said of it.

`make docs` loads it into griffe, which reads the sources without importing them.
"""

import io
import tokenize
from typing import Any

import griffe  # pyright: ignore[reportMissingImports]

OF_TOOLS = ("noqa", "type:", "pyright:", "fmt:")


class FieldComments(griffe.Extension):
    """Gives attributes without a docstring the comment at the end of their last line."""

    def on_attribute_instance(self, *, attr: Any, **_: Any) -> None:
        """Called by griffe for each attribute of a class or module."""
        comment = read_comment("\n".join(attr.lines)) if attr.docstring is None else ""
        if comment:
            attr.docstring = griffe.Docstring(comment, parent=attr)


def read_comment(source: str) -> str:
    """The last comment in a statement's source, as a sentence; "" where there is none."""
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(source.strip()).readline))
    except (tokenize.TokenError, IndentationError):
        return ""
    comments = [t.string.lstrip("# ") for t in tokens if t.type == tokenize.COMMENT]
    if not comments or comments[-1].startswith(OF_TOOLS):
        return ""
    return comments[-1][0].upper() + comments[-1][1:].rstrip(".") + "."
