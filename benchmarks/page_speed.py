"""How fast the live Pareto page is with 5,000 trials and 300 genes, in headless Chromium.

    python -m benchmarks.page_speed [--trials 5000] [--layers 100]

Prints the time of the first paint of the front, of the whole page, of an update by new trials
(median of 5), and what the page costs the tuner. Needs chromium and selenium.
"""

from __future__ import annotations

import argparse
import functools
import http.server
import json
import random
import statistics
import tempfile
import threading
import time
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=5000)
    parser.add_argument("--layers", type=int, default=100)
    parser.add_argument("--screenshot", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "log"
        folder.mkdir()
        journal = Path(name) / "journal.jsonl"
        write_journal(journal, args.trials, args.layers)
        page = LivePage(folder, journal, "benchmark")
        begin = time.perf_counter()
        page.write()
        first_write = time.perf_counter() - begin
        server = serve(folder)
        driver = browser(f"{name}/profile")
        try:
            driver.get(f"http://127.0.0.1:{server.server_port}/pareto.html")
            ready = "return window.jointGA && window.jointGA.updates >= arguments[0]"
            wait(lambda: driver.execute_script(ready, 1))
            timing = driver.execute_script(
                "const at = (n) => performance.getEntriesByName(n)[0].startTime;"
                "return ['first-contentful-paint', 'joint-ga-front', 'joint-ga-interactive',"
                "'joint-ga-ready'].map(at)"
            )
            loaded = renderer_seconds(driver)
            updates, writes = [], []
            for step in range(5):
                write_journal(journal, 20, args.layers, seed=step + 1)
                begin = time.perf_counter()
                page.write()
                writes.append(time.perf_counter() - begin)
                wait(lambda step=step: driver.execute_script(ready, step + 2))
                updates.append(driver.execute_script("return window.jointGA.lastUpdateMs"))
            updated = (renderer_seconds(driver) - loaded) / 5
            if args.screenshot:
                driver.save_screenshot(str(args.screenshot))
        finally:
            driver.quit()
            server.shutdown()
    print(f"{args.trials} trials, {3 * args.layers} genes")
    print(f"first contentful paint   {timing[0] / 1000:6.2f} s")
    print(f"front painted            {timing[1] / 1000:6.2f} s   (goal: < 2 s)")
    print(f"front answers the mouse  {timing[2] / 1000:6.2f} s")
    print(f"whole page drawn         {timing[3] / 1000:6.2f} s")
    print(f"update by 20 trials      {statistics.median(updates) / 1000:6.2f} s   (goal: < 0.5 s)")
    print(f"CPU to load and draw     {loaded:6.2f} s, per update {updated:.2f} s")
    print(f"first write by the tuner {first_write:6.2f} s, in a thread of its own")
    print(f"later write              {statistics.median(writes):6.3f} s")


def renderer_seconds(driver: Any) -> float:
    """CPU seconds so far of the page's process: what a busy machine doesn't stretch."""
    import psutil

    children = psutil.Process(driver.service.process.pid).children(recursive=True)
    times = [p.cpu_times() for p in children if "--type=renderer" in p.cmdline()]
    return max((t.user + t.system for t in times), default=0.0)


def wait(condition: Any, seconds: float = 60.0) -> None:
    """Polls ``condition`` until it is true."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("the page did not get ready")
        time.sleep(0.05)


if __name__ == "__main__":
    main()
