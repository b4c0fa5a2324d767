"""A real experiment through ``joint-ga run``, looked at in a real browser."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from support.http_requests import own_address
from support.joint_ga_run import JOINT_GA, TRIAL, Run, answers, get, kill_9, listens

DROPDOWN = ("css selector", ".ms-Dropdown")


def complaints(driver):
    """Errors of the page itself; NNI's own icon fonts come from a CDN that tests don't reach."""
    entries = [e for e in driver.get_log("browser") if e["level"] == "SEVERE"]
    return [e["message"] for e in entries if "res.cdn.office.net" not in e["message"]]


def wait_for_offer(driver, metrics, seconds=60):
    """Opens the menu of NNI's default-metric chart until it offers these."""
    from selenium.common.exceptions import WebDriverException

    end, offered = time.monotonic() + seconds, set()
    while not metrics <= offered:
        assert time.monotonic() < end, offered
        # The page draws itself again while trials end, and what was found goes stale.
        with suppress(WebDriverException):
            items = driver.find_elements("css selector", ".ms-Dropdown-item")
            offered = {e.text for e in items}
            for dropdown in driver.find_elements(*DROPDOWN) if not items else ():
                if dropdown.text.startswith("default"):
                    dropdown.click()
        time.sleep(0.5)


@pytest.mark.slow
@pytest.mark.nni
@pytest.mark.browser
def test_a_run_from_start_to_front(run, chromium, tmp_path):
    running = run(8, "-o", "out")
    url = running.wait_for(r"NNI's web UI +(http://127\.0\.0\.1:\d+)\n")[1]
    page = running.wait_for(r"Live Pareto page +(http://\S+)\n")[1]
    assert page == f"{url}/logs/pareto.html"
    running.wait_for(r"2/8 complete")

    # The manager has no login: it must not be reachable from another machine.
    port = int(url.rpartition(":")[2])
    listening = subprocess.run(["ss", "-Hltn"], capture_output=True, text=True, check=False).stdout
    assert not re.search(rf"(\*|0\.0\.0\.0|\[::\]):{port}\b", listening)
    with socket.socket() as probe:
        address = socket.gethostbyname(socket.gethostname())
        assert address.startswith("127.") or probe.connect_ex((address, port)) != 0

    chromium.get(page)
    points = "return window.jointGA && window.jointGA.points"
    end = time.monotonic() + 60
    while not (first := chromium.execute_script(points)):
        assert time.monotonic() < end
        time.sleep(0.2)
    running.wait_for(rf"[{min(first + 2, 8)}-8]/8 complete")
    end = time.monotonic() + 60
    while not chromium.execute_script(points) > min(first, 7):
        assert time.monotonic() < end, "the page does not follow the run"
        time.sleep(0.2)
    assert complaints(chromium) == []

    # NNI's own UI: genes and metrics are there under readable names.
    chromium.get(f"{url}/detail")
    end = time.monotonic() + 60
    wanted = ("Trial No.", "Default metric", "Hyper-parameter", "Intermediate")
    while not all(word in chromium.page_source for word in wanted):
        assert time.monotonic() < end, chromium.find_element("tag name", "body").text
        time.sleep(0.3)
    # Its default-metric chart offers every metric.
    wait_for_offer(chromium, {"default", "accuracy", "size_kb", "latency_ms"})

    assert running.process.wait(240) == 0, running.text
    text = running.text
    assert "Pareto front:" in text
    assert re.search(r"│ baseline ", text)
    assert re.search(r"knee", text)
    assert re.search(r"front +out/front\.csv", text)
    for name in ("trials.csv", "front.csv", "pareto.png", "report.html"):
        assert (tmp_path / "out" / name).stat().st_size > 0
    assert not answers(url, text)


@pytest.mark.slow
@pytest.mark.nni
def test_two_runs_at_the_same_moment_have_a_manager_each(run, tmp_path):
    # A run that has ended leaves its port to the next: neither may end before both have begun.
    wait = f"""
import pathlib, time
while not pathlib.Path({str(tmp_path / "go")!r}).exists():
    time.sleep(0.2)
"""
    both = [run(2, folder=tmp_path / name, body=wait + TRIAL) for name in ("one", "two")]
    urls = {running.wait_for(r"web UI +(http://\S+)\n")[1] for running in both}
    assert len(urls) == 2
    (tmp_path / "go").touch()
    for running in both:
        assert running.process.wait(150) == 0, running.text
        assert "2/2 complete" in running.text
    ids = [{p.name for p in (tmp_path / n / "experiments").iterdir()} for n in ("one", "two")]
    assert all(len(found - {"_latest"}) == 1 for found in ids), ids


@pytest.mark.slow
@pytest.mark.nni
def test_ctrl_c_stops_cleanly_and_reports(run, tmp_path):
    running = run(100)
    url = running.wait_for(r"web UI +(http://\S+)\n")[1]
    running.wait_for(r"[1-9]\d*/100 complete")
    assert answers(url, running.text)
    running.process.send_signal(signal.SIGINT)
    assert running.process.wait(150) == 130, running.text
    assert re.search(r"Continue it with: joint-ga resume \w+\n", running.text)
    assert "trials.csv" in running.text
    assert not answers(url, running.text)


@pytest.mark.slow
@pytest.mark.nni
@pytest.mark.parametrize(
    "word", [pytest.param("main.js", marks=pytest.mark.nightly), "--exp_params"]
)
def test_resume_at_once_after_a_kill_9(run, tmp_path, word):
    """Of the manager and of the tuner: the resume itself waits for what is left."""
    # One of them beyond this machine: the address with the token stays good.
    host = ["--host", own_address()] if word == "main.js" else []
    running = run(12, *host, body="import time\ntime.sleep(0.5)\n" + TRIAL)
    running.wait_for(r"[2-9]/12 complete")
    identity = re.search(r"Experiment (\w+) is running", running.text)[1]
    if word == "main.js":
        running.process.kill()  # it would stop the tuner itself
    main = ["main.js"] if word == "main.js" else [word]
    kill_9(tmp_path, *main)
    if word != "main.js":
        running.process.wait(120)
    resumed = Run(tmp_path, *host, command=("resume", identity, "--dir", "experiments"))
    try:
        assert resumed.process.wait(240) == 0, resumed.text
    finally:
        resumed.close()
    assert re.search(r"[2-9] complete, 0 failed, \d without a result", resumed.text), resumed.text
    assert "12/12 complete" in resumed.text
    tokens = {*re.findall(r"token=(\S+)", running.text + resumed.text)}
    assert len(tokens) == len(host[:1])
    found = subprocess.run(
        [*JOINT_GA, "resume", "nosuch", "--dir", "experiments"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (found.returncode, identity in found.stderr) == (1, True), found.stderr


@pytest.mark.slow
@pytest.mark.nni
def test_a_run_whose_trials_all_fail_says_so(run):
    running = run(2, body="import sys\nsys.exit('this trial is broken')\n")
    assert running.process.wait(240) == 3, running.text
    assert "only failed trials (2)" in running.text
    assert "no trial gave a result\n  2 ended with: this trial is broken" in running.text


@pytest.mark.slow
@pytest.mark.nni
@pytest.mark.browser
def test_keep_leaves_the_ui_up_and_an_open_host_wants_a_token(run, chromium, tmp_path):
    running = run(2, "--keep", "--host", "0.0.0.0")
    running.wait_for(r"Warning:[^.]*listen on\s+0\.0\.0\.0")
    link = running.wait_for(r"web UI +(http://\S+)\n")[1]
    host, port, token = re.fullmatch(r"http://(.+):(\d+)/\?token=([\w-]{43})", link).groups()
    url, port = f"http://127.0.0.1:{port}", int(port)
    kept = next((tmp_path / "experiments").glob("[!_]*/manager_token"))
    assert kept.read_text() == f"{token}\n"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    listening = subprocess.run(["ss", "-Hltn"], capture_output=True, text=True, check=False).stdout
    assert re.search(rf"(\*|0\.0\.0\.0|\[::\]):{port}\b", listening)
    assert running.process.wait(240) == 0, running.text
    said = re.search(r"stays at (\S+); end it with: nnictl stop (\w+)", running.text)
    assert said, running.text
    assert said[1] == link
    try:
        assert json.loads(get(f"{url}/api/v1/nni/check-status"))["status"] == "DONE"
        # As another machine's browser sees it: nothing, then all of NNI's UI.
        chromium.get(f"http://{host}:{port}/oview")
        assert "wants its token" in chromium.page_source
        chromium.get(link)
        end = time.monotonic() + 60
        while "SUCCEEDED" not in chromium.page_source:
            assert time.monotonic() < end, chromium.find_element("tag name", "body").text
            time.sleep(0.3)
        assert token not in chromium.current_url
        chromium.get(f"http://{host}:{port}/logs/pareto.html")
        while chromium.execute_script("return window.jointGA && window.jointGA.points") != 2:
            assert time.monotonic() < end
            time.sleep(0.2)
    finally:
        subprocess.run(
            [sys.executable, "-m", "nni.tools.nnictl.nnictl", "stop", said[2]],
            env={**os.environ, "HOME": str(tmp_path), "NNI_CONFIG_DIR": str(tmp_path / "nni")},
            capture_output=True,
            check=True,
        )
    # nnictl does not wait for its manager's end, which takes a while on a busy machine.
    deadline = time.monotonic() + 60
    while listens(port) and time.monotonic() < deadline:
        time.sleep(0.3)
    with pytest.raises(OSError, match="refused"):
        get(url)
