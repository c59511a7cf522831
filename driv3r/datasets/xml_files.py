"""XML files whole or by their top elements, without what makes them hostile."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from driv3r.datasets.images import read_file
from driv3r.errors import DatasetError

# An encoding that Python lacks, or one of several bytes a letter, is a fault of its own kind.
UNREADABLE = (ElementTree.ParseError, LookupError, ValueError)
WIDE = (b"\xff\xfe", b"\xfe\xff", b"<\0", b"\0<")  # how UTF-16 begins, in which no tag is plain


def read_xml(path: Path) -> Element:
    """The top element; DatasetError where the file is missing, no XML, or declares entities."""
    data = _read_plain(path)
    try:
        return ElementTree.fromstring(data)
    except UNREADABLE as error:
        raise DatasetError(f"{path} is no XML ({error}); fetch or write the file again") from error


def read_children(path: Path) -> Iterator[Element]:
    """The top element's children one by one, for files too large to be held; errors as above."""
    depth = 0
    try:
        for event, element in ElementTree.iterparse(BytesIO(_read_plain(path)), ("start", "end")):
            depth += 1 if event == "start" else -1
            if event == "end" and depth == 1:
                yield element
                element.clear()
    except UNREADABLE as error:
        raise DatasetError(f"{path} is no XML ({error}); fetch or write the file again") from error


def _read_plain(path: Path) -> bytes:
    data = read_file(path)
    if data.startswith(WIDE):
        raise DatasetError(f"{path} is in UTF-16, expected UTF-8; convert it")
    if b"<!ENTITY" in data:  # a few of which, nested, would inflate to gigabytes
        raise DatasetError(f"{path} declares entities, which it has no use for; fetch it again")
    return data
