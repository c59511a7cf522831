"""One Zarr v3 group per log: `writer` fills a staging folder, `commit` finishes it, `reader` opens.

`schema` says what a store holds, `verify` checks one, `morton` orders static voxels. Nothing is
imported here, so that `files.read_state` answers without loading zarr.
"""
