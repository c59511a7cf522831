"""Builds a binary glTF 2.0 file (Khronos, glTF 2.0 Specification): accessors, meshes, animation.

trimesh, which reads such files in the tests, writes no animations.
"""

import json
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int, Num, UInt8

POINTS, LINES, TRIANGLES = 0, 1, 4
ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER = 34962, 34963
COMPONENTS = {"f4": 5126, "u4": 5125}
SHAPES = {1: "SCALAR", 3: "VEC3", 4: "VEC4"}
MAGIC, JSON_CHUNK, BIN_CHUNK = 0x46546C67, 0x4E4F534A, 0x004E4942


def encode_colours(rgb: UInt8[np.ndarray, "n 3"]) -> Float32[np.ndarray, "n 3"]:
    """sRGB bytes as COLOR_0, which glTF wants linear (IEC 61966-2-1).

    Floats, since bytes would lose the dark levels, and trimesh misreads 16 bits.
    """
    srgb = np.arange(256) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    return linear.astype(np.float32)[rgb]


@dataclass
class GltfBuilder:
    """Collects a document and its buffer."""

    nodes: list[dict[str, Any]] = field(default_factory=list)
    meshes: list[dict[str, Any]] = field(default_factory=list)
    accessors: list[dict[str, Any]] = field(default_factory=list)
    views: list[dict[str, Any]] = field(default_factory=list)
    channels: list[dict[str, Any]] = field(default_factory=list)
    samplers: list[dict[str, Any]] = field(default_factory=list)
    _parts: list[bytes] = field(default_factory=list)
    _length: int = 0

    def add_array(
        self, values: Num[np.ndarray, "n *k"], target: int | None = None, bounds: bool = False
    ) -> int:
        """Number of the accessor of an array of 32-bit floats or counts."""
        kind = values.dtype.newbyteorder("<").str[1:]
        data = np.ascontiguousarray(values, f"<{kind}").tobytes()
        view = {"buffer": 0, "byteOffset": self._length, "byteLength": len(data)}
        self.views.append(view if target is None else view | {"target": target})
        accessor: dict[str, Any] = {
            "bufferView": len(self.views) - 1,
            "componentType": COMPONENTS[kind],
            "count": len(values),
            "type": SHAPES[values.shape[1] if values.ndim == 2 else 1],
        }
        if bounds:
            rows = values.reshape(len(values), -1)
            accessor |= {"min": rows.min(axis=0).tolist(), "max": rows.max(axis=0).tolist()}
        self.accessors.append(accessor)
        self._parts.append(data)
        self._length += len(data)
        return len(self.accessors) - 1

    def add_mesh(
        self,
        name: str,
        mode: int,
        points: Float[np.ndarray, "n 3"],
        rgb: UInt8[np.ndarray, "n 3"],
        faces: Int[np.ndarray, "m 3"] | None = None,
    ) -> int:
        """Number of a mesh, shown without light: points, lines between pairs, or triangles."""
        attributes = {
            "POSITION": self.add_array(points.astype(np.float32), ARRAY_BUFFER, bounds=True),
            "COLOR_0": self.add_array(encode_colours(rgb), ARRAY_BUFFER),
        }
        primitive: dict[str, Any] = {"attributes": attributes, "mode": mode, "material": 0}
        if faces is not None:
            indices = faces.astype(np.uint32).reshape(-1)
            primitive["indices"] = self.add_array(indices, ELEMENT_ARRAY_BUFFER)
        self.meshes.append({"name": name, "primitives": [primitive]})
        return len(self.meshes) - 1

    def add_node(self, **properties: Any) -> int:
        """Number of a node."""
        self.nodes.append(properties)
        return len(self.nodes) - 1

    def animate(
        self, node: int, path: str, seconds: int, values: Num[np.ndarray, "n k"], how: str
    ) -> None:
        """Move a node's translation, rotation or scale; `seconds` is the accessor of the times."""
        output = self.add_array(values.astype(np.float32))
        self.samplers.append({"input": seconds, "output": output, "interpolation": how})
        target = {"node": node, "path": path}
        self.channels.append({"sampler": len(self.samplers) - 1, "target": target})

    def save(self, path: Path, root: int) -> None:
        """Write the file; `root` is the node that all others hang on."""
        document: dict[str, Any] = {
            "asset": {"version": "2.0", "generator": "driv3r export"},
            "extensionsUsed": ["KHR_materials_unlit"],
            "materials": [
                {
                    "name": "colours as recorded",
                    "doubleSided": True,
                    "extensions": {"KHR_materials_unlit": {}},
                }
            ],
            "scene": 0,
            "scenes": [{"nodes": [root]}],
            "nodes": self.nodes,
        }
        if self.meshes:
            document |= {
                "meshes": self.meshes,
                "accessors": self.accessors,
                "bufferViews": self.views,
                "buffers": [{"byteLength": self._length}],
            }
        if self.channels:
            animation = {"name": "drive", "channels": self.channels, "samplers": self.samplers}
            document["animations"] = [animation]
        text = json.dumps(document, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        chunks = struct.pack("<II", len(text), JSON_CHUNK) + text
        if self.meshes:
            chunks += struct.pack("<II", self._length, BIN_CHUNK) + b"".join(self._parts)
        path.write_bytes(struct.pack("<III", MAGIC, 2, 12 + len(chunks)) + chunks)
