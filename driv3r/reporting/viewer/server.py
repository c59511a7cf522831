"""The viewer's server: layers, time and read-out over viser, for a browser on any machine."""

import contextlib
import importlib
import io
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from driv3r.errors import ConfigError
from driv3r.geometry.transforms import to_quaternion
from driv3r.reporting.viewer.log_scene import LogScene, Segments
from driv3r.reporting.viewer.point_layers import COLOURS, ColourBy, PointLayer, pick_point

LAYERS = ("map", "objects", "boxes", "trails", "path", "cameras", "depth", "LiDAR")
HIDDEN = ("depth", "LiDAR")  # at the start
CAR_SIZE_M = (4.4, 1.9, 1.6)
BEHIND_M, ABOVE_M = np.array([-16.0, 0.0, 9.0]), np.array([-0.1, 0.0, 60.0])
AHEAD_M = np.array([6.0, 0.0, 0.5])
HINT = "Click a point to read it out, another for the distance between both."
MARK_RGB = (255, 90, 200)


@dataclass(frozen=True)
class ViewerConfig:
    """Where the server listens, and how much it sends.

    `most_points` of the static map are sent, evenly chosen. Depth is shown at every
    `depth_stride`-th pixel. While it plays, a new moment is sent `updates_hz` times a second.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    most_points: int = 1_000_000
    depth_stride: int = 2
    updates_hz: float = 10.0


class LogViewer:
    """Serves logs to browsers until `stop`. ConfigError without viser, which is an extra."""

    def __init__(self, scenes: Sequence[LogScene], config: ViewerConfig | None = None):
        self.config = config or ViewerConfig()
        self.scenes = {scene.store.log_id: scene for scene in scenes}
        self.scene = scenes[0]
        self.lock = threading.RLock()
        self.stopped = threading.Event()
        self.layers: list[PointLayer] = []
        self.picked: list[np.ndarray] = []
        self.shown_frame: tuple[Any, ...] | None = None
        self.server = _start_server(self.config)
        self.server.scene.set_up_direction("+z")
        self.server.gui.configure_theme(dark_mode=True, show_logo=False, show_share_button=False)
        self.server.scene.set_background_image(np.full((1, 1, 3), (14, 16, 22), np.uint8))
        self._build_panel()
        self.server.scene.on_click()(self._read_out)
        self.server.on_client_connect(lambda client: self._place_camera(client, BEHIND_M))
        self.choose_log(self.scene.store.log_id)
        threading.Thread(target=self._play, daemon=True).start()

    @property
    def port(self) -> int:
        """Where it listens; another than was asked for where that was taken."""
        return self.server.get_port()

    def stop(self) -> None:
        """End the server and its threads."""
        self.stopped.set()
        with contextlib.redirect_stdout(io.StringIO()):
            self.server.stop()

    def choose_log(self, log_id: str) -> None:
        """Show another of the logs from its start."""
        with self.lock:
            self.scene = self.scenes[log_id]
            self.slider.max = max(self.scene.seconds, 0.1)
            self.slider.value = 0.0
            self.picked.clear()
            self._show_mark()
            self._show_static()
            self.told.content = HINT + self._note_scale()
            self.show(0.0)
        for client in self.server.get_clients().values():
            self._place_camera(client, BEHIND_M)

    def show(self, seconds: float | int) -> None:
        """Show the log at a time after its start."""
        with self.lock:
            scene, time_us = self.scene, self.scene.time_us(seconds)
            before = getattr(self, "local_T_ego", None)
            self.local_T_ego = scene.ego_at(time_us)
            with self.server.atomic():
                self._show_moving(time_us)
                self._show_frame(scene.frame_at(time_us))
            if self.follow.value and before is not None:
                self._follow(self.local_T_ego[:3, 3] - before[:3, 3])

    def _build_panel(self) -> None:
        gui = self.server.gui
        log = gui.add_dropdown("Log", tuple(self.scenes), initial_value=self.scene.store.log_id)
        log.on_update(lambda _: self.choose_log(log.value))
        self.slider = gui.add_slider("Seconds", min=0.0, max=1.0, step=0.1, initial_value=0.0)
        self.slider.on_update(lambda _: self.show(self.slider.value))
        self.playing = gui.add_checkbox("Play", False)
        self.speed = gui.add_slider("Speed", min=0.1, max=4.0, step=0.1, initial_value=1.0)
        self.colour = gui.add_dropdown("Colour by", COLOURS, initial_value="rgb")
        self.point_m = gui.add_slider(
            "Point size", min=0.02, max=0.4, step=0.02, initial_value=0.14
        )
        for handle in (self.colour, self.point_m):
            handle.on_update(lambda _: self._redraw())
        with gui.add_folder("Layers"):
            self.boxes = {name: gui.add_checkbox(name, name not in HIDDEN) for name in LAYERS}
        for box in self.boxes.values():
            box.on_update(lambda _: self._redraw())
        self.follow = gui.add_checkbox("Follow the car", True)
        for name, offset_m in (("Behind the car", BEHIND_M), ("Bird's eye", ABOVE_M)):
            button = gui.add_button(name)
            button.on_click(
                lambda event, offset_m=offset_m: self._place_camera(event.client, offset_m)
            )
        self.told = gui.add_markdown(HINT)

    def _redraw(self) -> None:
        with self.lock:
            self.shown_frame = None
            self._show_static()
            self.show(self.slider.value)

    def _show_static(self) -> None:
        self.static = self.scene.static.thin(self.config.most_points)
        self._add_points("map", self.static)
        self._add_lines("path", self.scene.path, 3.0)

    def _show_moving(self, time_us: int) -> None:
        objects, boxes = self.scene.objects(time_us)
        self._add_points("objects", objects)
        self._add_lines("boxes", boxes, 2.0)
        self._add_lines("trails", self.scene.trails(time_us), 2.0)
        self.moving = objects
        self.server.scene.add_box(
            "/car", color=(255, 255, 255), dimensions=CAR_SIZE_M, wireframe=True,
            wxyz=to_quaternion(self.local_T_ego),
            position=self.local_T_ego[:3, 3] + (0.0, 0.0, CAR_SIZE_M[2] / 2),
        )  # fmt: skip

    def _show_frame(self, frame: int) -> None:
        """What changes with the frame only: depth, LiDAR and the cameras."""
        shown = (self.scene.store.log_id, frame, self.colour.value)
        if shown != self.shown_frame:
            self.shown_frame = shown
            by_error = self.colour.value == "error"
            read_lidar = self.scene.error_points if by_error else self.scene.lidar_points
            blank = PointLayer("", np.zeros((0, 3), np.float32), np.zeros((0, 3), np.uint8))
            self.frame_layers = {
                "depth": self.scene.depth_points(frame, self.config.depth_stride)
                if self.boxes["depth"].value
                else blank,
                "LiDAR": read_lidar(frame) if self.boxes["LiDAR"].value else blank,
            }
            for name, layer in self.frame_layers.items():
                self._add_points(name, layer)
            self._show_cameras(frame)
        self.layers = [self.static, self.moving, *self.frame_layers.values()]

    def _show_cameras(self, frame: int) -> None:
        images = self.scene.images(frame) if self.boxes["cameras"].value else ()
        for view, camera in enumerate(self.scene.store.rig.cameras):
            placed = self.scene.camera_at(frame, view)
            shown = self.boxes["cameras"].value and placed is not None
            local_T_cam = placed[1] if placed is not None else np.eye(4)
            height, width = camera.size_hw
            self.server.scene.add_camera_frustum(
                f"/cameras/{view}",
                fov=2 * float(np.arctan(height / 2 / camera.K[1, 1])),
                aspect=width / height,
                scale=1.2,
                color=(230, 230, 230),
                image=images[view] if images else None,
                wxyz=to_quaternion(local_T_cam),
                position=local_T_cam[:3, 3],
                visible=bool(shown),
            )

    def _add_points(self, name: str, layer: PointLayer) -> None:
        if not len(layer.points_local) or not self.boxes[name].value:
            self.server.scene.remove_by_name(f"/{name}")
            return
        self.server.scene.add_point_cloud(
            f"/{name}", layer.points_local, layer.colours(cast(ColourBy, self.colour.value)),
            point_size=self.point_m.value * (1.0 if name == "map" else 0.5),
            point_shape="circle", point_shading="flat", precision="float32",
        )  # fmt: skip

    def _add_lines(self, name: str, lines: Segments, width_px: float) -> None:
        if not len(lines.points_local) or not self.boxes[name].value:
            self.server.scene.remove_by_name(f"/{name}")
            return
        self.server.scene.add_line_segments(
            f"/{name}", lines.points_local.astype(np.float32), lines.rgb,
            thickness=width_px, thickness_units="screen",
        )  # fmt: skip

    def _place_camera(self, client: Any, offset_ego_m: np.ndarray) -> None:
        """Look at the car from a place that is given in its own frame."""
        ego = self.local_T_ego
        with client.atomic():
            client.camera.up_direction = (0.0, 0.0, 1.0)
            client.camera.position = ego[:3, :3] @ offset_ego_m + ego[:3, 3]
            ahead_m = AHEAD_M if offset_ego_m is BEHIND_M else np.zeros(3)
            client.camera.look_at = ego[:3, :3] @ ahead_m + ego[:3, 3]

    def _follow(self, way_m: np.ndarray) -> None:
        for client in self.server.get_clients().values():
            # A browser that has only just come has not told its camera yet: there is none to move.
            with contextlib.suppress(AssertionError), client.atomic():
                look_at = client.camera.look_at + way_m  # moving the place moves this along
                client.camera.position = client.camera.position + way_m
                client.camera.look_at = look_at

    def _read_out(self, event: Any) -> None:
        """Tell of a clicked point, and how far it is from the one before."""
        with self.lock:
            names = ("map", "objects", *HIDDEN)
            visible = [
                layer
                for name, layer in zip(names, self.layers, strict=True)
                if self.boxes[name].value
            ]
            found = pick_point(visible, np.array(event.ray_origin), np.array(event.ray_direction))
            if found is None:
                self.told.content = "No point there."
                return
            layer, row = visible[found[0]], found[1]
            place = layer.points_local[row].astype(np.float64)
            self.picked = [*self.picked, place][-2:]
            x, y, z = place + self.scene.origin_world
            text = f"**{layer.describe(row)}**\n\nworld {x:.2f}, {y:.2f}, {z:.2f} m"
            reach_m = np.linalg.norm(place - self.local_T_ego[:3, 3])
            text += f"\n\n{reach_m:.2f} m from the car, {z - self._road_m():.2f} m over its road"
            if len(self.picked) == 2:
                text += f"\n\n**{np.linalg.norm(np.subtract(*self.picked)):.2f} m** between both"
            self.told.content = text + self._note_scale()
            self._show_mark()

    def _note_scale(self) -> str:
        note = self.scene.scale_note
        return f"\n\n*{note}*" if note else ""

    def _road_m(self) -> float:
        height_m = self.local_T_ego[2, 3] + self.scene.origin_world[2]
        return float(height_m + self.scene.store.rig.ground_z_m)

    def _show_mark(self) -> None:
        """A dot on each picked point and a line between both."""
        scene = self.server.scene
        points = np.array(self.picked, np.float32).reshape(-1, 3)
        scene.remove_by_name("/mark")
        scene.remove_by_name("/between")
        if len(points):
            scene.add_point_cloud("/mark", points, MARK_RGB, point_size=0.2, precision="float32")
        if len(points) == 2:
            scene.add_line_segments(
                "/between", points[None], MARK_RGB, thickness=3.0, thickness_units="screen"
            )

    def _play(self) -> None:
        last = time.monotonic()
        while not self.stopped.wait(1 / self.config.updates_hz):
            now = time.monotonic()
            if self.playing.value:
                seconds = self.slider.value + (now - last) * self.speed.value
                # Setting the slider shows the time, as a hand on it does.
                self.slider.value = 0.0 if seconds > self.scene.seconds else seconds
            last = now


def _start_server(config: ViewerConfig) -> Any:
    try:
        viser = importlib.import_module("viser")
    except ImportError as error:
        raise ConfigError(
            "the viewer needs viser, which is not installed: pip install 'driv3r[view]'"
        ) from error
    make: Callable[..., Any] = viser.ViserServer
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # its banner: only our CLI prints
            return make(host=config.host, port=config.port, label="driv3r", verbose=False)
    except OSError as error:
        raise ConfigError(
            f"can not listen on {config.host}:{config.port} ({error}); name another --port"
        ) from error
