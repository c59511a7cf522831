"""Dataset roots in an object store (gs://, s3://, any of fsspec's), of which logs are fetched."""

from driv3r.datasets.remote.layout import RemoteLayout
from driv3r.datasets.remote.reader import RemoteReader, is_at_hand

__all__ = ["RemoteLayout", "RemoteReader", "is_at_hand"]
