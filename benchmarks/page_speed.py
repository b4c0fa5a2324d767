"""How fast the live Pareto page is with 5,000 trials and 300 genes, in headless Chromium.

    python -m benchmarks.page_speed [--trials 5000] [--layers 100] [--repeats 5]

Prints medians: the time of the first paint, of the front, of the whole page, of an update by new
trials, the page's processor time, and what the page costs the tuner. Needs chromium and selenium.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import http.server
import json
import os
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from shutil import which
from typing import Any

from nni_plugin.results.live_page import LivePage
from nni_plugin.results.page_server import LogHandler


def write_journal(path: Path, trials: int, layers: int, seed: int = 0) -> None:
    """Appends a run of ``trials`` on a made-up network of ``layers`` layers (3 genes each)."""
    rng = random.Random(seed)
    space: dict[str, Any] = {}
    for i in range(layers):
        space[f"block{i}.prune"] = {"_type": "choice", "_value": [0, 0.125, 0.25, 0.5, 0.75]}
        space[f"block{i}.w_bits"] = {"_type": "choice", "_value": [2, 4, 8]}
        space[f"block{i}.a_bits"] = {"_type": "choice", "_value": [4, 8]}
    objectives = {"accuracy": "maximize", "size_kb": "minimize", "latency_ms": "minimize"}
    first = sum(1 for _ in path.open()) // 2 if path.exists() else 0
    with path.open("a") as journal:

        def write(**event: Any) -> None:
            journal.write(json.dumps({**event, "time": 1.7e9 + 5 * uid}) + "\n")

        uid = first
        if not first:
            limits = {"ram_kb": "<= 200"}
            write(event="start", version=1, objectives=objectives, constraints=limits, space=space)
        for uid in range(first + 1, first + trials + 1):
            harder = rng.random() * min(1.0, 0.3 + uid / 2000)
            params = {
                key: 0 if uid == 1 and "prune" in key
                else 8 if uid == 1
                else rng.choice(entry["_value"])
                for key, entry in space.items()
            }  # fmt: skip
            size = 16.0 if uid == 1 else 120 * (1 - harder) ** 2 + 4 + rng.random() * 3
            accuracy = 0.98 - 0.25 * harder**4 - 0.05 * rng.random() ** 2
            metrics = {
                "default": round(accuracy, 4), "accuracy": round(accuracy, 4),
                "size_kb": round(size, 3), "ram_kb": round(80 + 150 * rng.random(), 2),
                "latency_ms": round(3 + size / 9 + rng.random(), 3),
                "energy_mj": round(0.4 * size, 3), "macs": int(1e6 * size), "bops": int(6e7 * size),
                "baseline_accuracy": 0.985, "uid": uid,
            }  # fmt: skip
            write(event="ask", uid=uid, params=params, costs=None, origin="ga")
            write(event="tell", uid=uid, metrics=metrics, trial=f"t{uid:05x}")


def serve(folder: Path) -> http.server.ThreadingHTTPServer:
    """Serves ``folder`` on a free port of 127.0.0.1, in a thread."""
    handler = functools.partial(LogHandler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def browser(profile: str) -> Any:
    """Headless Chromium that asks nobody for updates."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    for flag in (
        "headless=new", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run",
        "disable-background-networking", "disable-component-update", "disable-sync",
        f"user-data-dir={profile}", "window-size=1600,1300",
    ):  # fmt: skip
        options.add_argument(f"--{flag}")
    # A named driver keeps selenium from looking one up on the internet.
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(which("chromedriver")))


MARKS = ("first-contentful-paint", "joint-ga-front", "joint-ga-ready")
READY = "return Boolean(window.jointGA && window.jointGA.updates >= arguments[0])"


class Measured:
    """A page in a browser, and what its steps take in seconds."""

    def __init__(self, driver: Any, address: str) -> None:
        self._driver = driver
        self._address = address
        self.steps: dict[str, list[float]] = {}

    def note(self, **seconds: float) -> None:
        """Adds a measurement to each step."""
        for name, value in seconds.items():
            self.steps.setdefault(name, []).append(value)

    def load(self) -> None:
        """Opens the page and waits until all of it is drawn."""
        self._driver.get("about:blank")
        used = renderer_seconds(self._driver)
        self._driver.get(self._address)
        wait(lambda: self._driver.execute_script(READY, 1))
        script = "return arguments[0].map((n) => performance.getEntriesByName(n)[0].startTime)"
        first, front, ready = self._driver.execute_script(script, MARKS)
        self.note(first=first / 1000, front=front / 1000, ready=ready / 1000)
        self.note(load_cpu=spent(used, renderer_seconds(self._driver)))

    def update(self, name: str, change: Callable[[], object]) -> None:
        """Changes the data and waits until the page has drawn what is in sight."""
        before = self._driver.execute_script("return window.jointGA.updates")
        used = renderer_seconds(self._driver)
        change()
        wait(lambda: self._driver.execute_script(READY, before + 1))
        took = self._driver.execute_script("return window.jointGA.lastUpdateMs") / 1000
        time.sleep(0.3)  # for the painting
        cpu = spent(used, renderer_seconds(self._driver))
        self.note(**{name: took, f"{name}_cpu": cpu})

    def median(self, name: str) -> float:
        """Of a step's measurements."""
        return statistics.median(self.steps[name])


def measure(name: str, trials: int, layers: int, repeats: int, picture: Path | None) -> Measured:
    """Loads and updates the page of a made-up run.

    Args:
        name: of a temporary folder.
        trials: finished ones.
        layers: of three genes each.
        repeats: of each step.
        picture: where a screenshot goes.
    """
    folder, journal = Path(name) / "log", Path(name) / "journal.jsonl"
    folder.mkdir()
    write_journal(journal, trials, layers)
    page = LivePage(folder, journal, "benchmark")
    begin = time.perf_counter()
    page.write()
    first_write = time.perf_counter() - begin
    server = serve(folder)
    driver = browser(f"{name}/profile")
    try:
        found = Measured(driver, f"http://127.0.0.1:{server.server_port}/pareto.html")
        found.note(first_write=first_write)
        for _ in range(repeats):
            found.load()

        def more() -> None:
            write_journal(journal, 20, layers, seed=len(found.steps.get("write", [])) + 1)
            begin = time.perf_counter()
            page.write()
            found.note(write=time.perf_counter() - begin)

        for _ in range(repeats):
            found.update("update", more)
        if picture:
            driver.save_screenshot(str(picture))
        driver.set_window_size(1600, 4000)
        time.sleep(2.0)  # until the page has drawn what came into sight
        for _ in range(repeats):
            found.update("whole", more)
    finally:
        driver.quit()
        server.shutdown()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=5000)
    parser.add_argument("--layers", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--screenshot", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        found = measure(name, args.trials, args.layers, args.repeats, args.screenshot)
    load = os.getloadavg()[0]
    print(
        f"{args.trials} trials, {3 * args.layers} genes; load {load:.1f} on {os.cpu_count()} cores"
    )
    for step, text in (
        ("first", "first paint (goal: < 0.3 s)"),
        ("front", "front painted"),
        ("ready", "whole page drawn"),
        ("load_cpu", "CPU of all that"),
        ("update", "update by 20 trials (goal: < 0.5 s)"),
        ("update_cpu", "CPU of it"),
        ("whole", "the same in a window that shows all parts"),
        ("whole_cpu", "CPU of it"),
        ("first_write", "first write by the tuner, in a thread of its own"),
        ("write", "later write"),
    ):
        print(f"{text:<50} {found.median(step):7.3f} s")


def renderer_seconds(driver: Any) -> dict[int, float]:
    """CPU seconds so far of the pages' processes: what a busy machine doesn't stretch."""
    import psutil

    found = {}
    for process in psutil.Process(driver.service.process.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):  # one that ends just now
            if "--type=renderer" in process.cmdline():
                times = process.cpu_times()
                found[process.pid] = times.user + times.system
    return found


def spent(before: dict[int, float], after: dict[int, float]) -> float:
    """CPU seconds between two looks; a page may have got a process of its own."""
    return sum(seconds - before.get(pid, 0.0) for pid, seconds in after.items())


def wait(condition: Any, seconds: float = 60.0) -> None:
    """Polls ``condition`` until it is true."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("the page did not get ready")
        time.sleep(0.05)


if __name__ == "__main__":
    main()
