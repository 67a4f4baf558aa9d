"""Headless Chromium for tests, driven over the DevTools protocol without further dependencies.

The protocol (https://chromedevtools.github.io/devtools-protocol) uses two pipes. Each JSON message ends in a zero byte.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
TIMEOUT = 60.0  # seconds
# Tests often run as root, which needs --no-sandbox.
FLAGS = ["--headless=new", "--no-sandbox", "--no-first-run", "--hide-scrollbars", "--remote-debugging-pipe"]
FLAGS += [f"--disable-{part}" for part in ("gpu", "dev-shm-usage", "background-networking", "component-update")]


def installed() -> str | None:
    """Returns the path of a Chromium-based browser."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class NavigationError(Exception):
    """The page was left while a script ran in it."""


class Browser:
    """One browser with one page.

    Attributes:
        problems: console output and script exceptions of the page.
        requests: addresses requested by the page.
        width: of the window, in CSS pixels.
    """

    def __init__(self, program: str, profile: Path) -> None:
        ours, theirs = os.pipe(), os.pipe()  # to the browser, from the browser

        def connect() -> None:
            copies = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (ours[0], theirs[1])]
            for end, number in zip(copies, (3, 4), strict=True):
                os.dup2(end, number)

        self._process = subprocess.Popen(
            [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            preexec_fn=connect,
            close_fds=False,
            **dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL),
        )
        os.close(ours[0])
        os.close(theirs[1])
        self._write, self._read = ours[1], theirs[0]
        self._rest, self._count, self._session = b"", 0, ""
        self.width = 0
        self.problems: list[str] = []
        self.requests: list[str] = []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log", "DOM"):
            self.ask(f"{domain}.enable")

    def close(self) -> None:
        os.close(self._write)
        os.close(self._read)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Sends a command and returns its result; events in between are recorded.

        Raises:
            NavigationError: see there.
        """
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._count:
                if "navigated" in answer.get("error", {}).get("message", ""):
                    raise NavigationError
                assert "error" not in answer, (method, answer["error"])
                return dict(answer["result"])

    def open(self, path: Path, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Opens a file in a window of this size and clears `problems` and `requests`."""
        self.width, phone = width, width < 600
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])
        self.ask("Emulation.setFocusEmulationEnabled", enabled=True)
        self.ask("Emulation.setTouchEmulationEnabled", enabled=phone)
        self.problems.clear()
        self.requests.clear()
        self.ask("Page.navigate", url=path.as_uri())
        self.until(lambda: self.run("document.readyState") == "complete" and self.run("location.protocol") == "file:")

    def run(self, script: str) -> Any:
        """Returns the value of an expression in the page."""
        answer = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, (script, answer["exceptionDetails"])
        return answer["result"].get("value")

    def until(self, condition: Callable[[], bool]) -> None:
        """Waits until the condition holds."""
        end = time.monotonic() + TIMEOUT
        while True:
            with contextlib.suppress(NavigationError):
                if condition():
                    return
            assert time.monotonic() < end, "timeout"
            time.sleep(0.02)

    def point(self, selector: str | None) -> None:
        """Moves the mouse onto an element, or away from all elements."""
        x, y = self._middle(selector) if selector else (1, 1)
        self.ask("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def click(self, selector: str) -> None:
        x, y = self._middle(selector)
        for kind in ("mousePressed", "mouseReleased"):
            self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def tap(self, selector: str) -> None:
        """Touches an element, as on a phone."""
        x, y = self._middle(selector)
        self.ask("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
        self.ask("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def press(self, key: str) -> None:
        code, text = {"Tab": (9, ""), "Enter": (13, "\r")}[key]
        for kind in ("keyDown", "keyUp"):
            self.ask("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, text=text)

    def type(self, selector: str, text: str) -> None:
        """Replaces the text of a field."""
        self.run(f"(e => {{ e.focus(); e.select(); }})(document.querySelector({json.dumps(selector)}))")
        self.ask("Input.insertText", text=text)

    def choose(self, selector: str, option: str) -> None:
        """Chooses an option of a select element by its text, with the events of the browser's menu."""
        self.run(
            f"""(select => {{
                select.value = [...select.options].find(one => one.text === {json.dumps(option)}).value;
                select.dispatchEvent(new Event("input", {{ bubbles: true }}));
                select.dispatchEvent(new Event("change", {{ bubbles: true }}));
            }})(document.querySelector({json.dumps(selector)}))"""
        )

    def _middle(self, selector: str) -> tuple[float, float]:
        """Scrolls to an element and returns the position of its middle in the window."""
        x, y = self.run(
            f"""(element => {{
                element.scrollIntoView({{ block: "center", behavior: "instant" }});
                const box = element.getBoundingClientRect();
                return [box.x + box.width / 2, box.y + box.height / 2];
            }})(document.querySelector({json.dumps(selector)}))"""
        )
        return x, y

    def _receive(self) -> dict[str, Any]:
        """The next message; events are recorded."""
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._read], [], [], TIMEOUT)
            assert ready, "the browser does not answer"
            part = os.read(self._read, 1 << 20)
            assert part, "the browser has ended"
            self._rest += part
        line, self._rest = self._rest.split(b"\0", 1)
        message: dict[str, Any] = json.loads(line)
        method, parameters = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.problems.append(json.dumps(parameters["exceptionDetails"])[:2000])
        elif method in ("Runtime.consoleAPICalled", "Log.entryAdded"):
            self.problems.append(json.dumps(parameters)[:2000])
        elif method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        return message
