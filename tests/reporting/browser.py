"""Headless Chromium through the DevTools protocol, for pages that have to be seen."""

import base64
import itertools
import json
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import pytest

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--enable-unsafe-swiftshader", "--remote-debugging-port=0", "--remote-allow-origins=*",
    "--hide-scrollbars", "--disable-dev-shm-usage",
)  # fmt: skip


class Browser:
    """One tab. `events` keeps what the page said: console, exceptions, requests."""

    def __init__(self, folder: Path):
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        if chromium is None:
            pytest.skip("no chromium on this machine")
        client = pytest.importorskip("websockets.sync.client", reason="needs websockets (viser)")
        command = [chromium, *FLAGS, f"--user-data-dir={folder}", "about:blank"]
        self.process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.events: list[dict] = []
        self.numbers = itertools.count(1)
        self.socket = client.connect(self._find_page(folder), max_size=None)
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def _find_page(self, folder: Path) -> str:
        until = time.monotonic() + 30
        while time.monotonic() < until:
            try:
                port = (folder / "DevToolsActivePort").read_text().splitlines()[0]
                pages = json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/json"))
                return next(p for p in pages if p["type"] == "page")["webSocketDebuggerUrl"]
            except (OSError, IndexError, StopIteration):
                time.sleep(0.05)
        raise AssertionError("chromium did not start")

    def send(self, method: str, **params):
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = json.loads(self.socket.recv(timeout=60))
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]
            self.events.append(message)

    def open(self, address: str, width: int = 1200, height: int = 800, dark: bool = False, **more):
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        features += [{"name": name, "value": value} for name, value in more.items()]
        self.send("Emulation.setEmulatedMedia", features=features)
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.send("Emulation.setDeviceMetricsOverride", **size)
        self.events.clear()
        self.send("Page.navigate", url=address)
        self.wait("document.readyState === 'complete'")

    def run(self, script: str):
        result = self.send(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait(self, condition: str, seconds: float | int = 30):
        until = time.monotonic() + seconds
        while not self.run(condition):
            assert time.monotonic() < until, f"never true: {condition}"
            time.sleep(0.05)

    def key(self, key: str, code: str = "", number: int = 0):
        what = {"key": key, "code": code or key, "windowsVirtualKeyCode": number}
        text = {"text": key} if len(key) == 1 else {}
        self.send("Input.dispatchKeyEvent", type="keyDown", **what, **text)
        self.send("Input.dispatchKeyEvent", type="keyUp", **what)

    def screenshot(self, **more) -> np.ndarray:
        data = base64.b64decode(self.send("Page.captureScreenshot", format="png", **more)["data"])
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]

    def complaints(self) -> list[str]:
        """Console errors and warnings, exceptions, and failed loads since the page was opened."""
        found = []
        for event in self.events:
            kind, params = event.get("method"), event.get("params", {})
            if kind == "Runtime.exceptionThrown":
                found.append(str(params["exceptionDetails"]))
            if kind == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert"):
                found.append(str(params["args"]))
            if kind == "Log.entryAdded" and params["entry"]["level"] == "error":
                found.append(str(params["entry"]))
        return found

    def requests(self) -> list[str]:
        urls = [
            event["params"]["request"]["url"]
            for event in self.events
            if event.get("method") == "Network.requestWillBeSent"
        ]
        return [url for url in urls if not url.startswith(("data:", "blob:"))]

    def close(self):
        self.socket.close()
        self.process.terminate()
        self.process.wait(10)
