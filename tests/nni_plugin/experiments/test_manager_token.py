"""A manager that listens beyond this machine: from there nobody gets in without its token."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from nni_plugin.setup import launcher
from support.http_requests import Requests, handshake, own_address
from support.nni_experiment import NniExperiment

pytestmark = pytest.mark.nni
TOKEN = "t0ken-of_the.tests"
STATUS = "/api/v1/nni/check-status"
BROWSER = {"Accept": "text/html,application/xhtml+xml", "Sec_Fetch_Mode": "navigate"}


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NniExperiment]:
    """An experiment with one trial that waits, whose manager listens on that address."""
    experiment = NniExperiment(tmp_path_factory.mktemp("open"))
    experiment.guard(launcher.environment(own_address(), token=TOKEN))
    try:
        experiment.create(experiment.config(body="time.sleep(600)"))
        experiment.wait_for(lambda: len(experiment.trials()) == 1)
        yield experiment
    finally:
        experiment.close()


@pytest.fixture
def outside(experiment: NniExperiment) -> Requests:
    return Requests(own_address(), experiment.port)


@pytest.mark.parametrize(
    "path", ["/", "/oview", STATUS, "/api/v1/nni/trial-jobs", "/logs/pareto.html", "/no/such"]
)
def test_without_the_token_nothing_is_answered(outside: Requests, path: str) -> None:
    for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS"):
        answer = outside(method, path, "{}", Content_Type="application/json")
        assert answer.status == 401
        assert "?token=" in answer.text
        assert "ssh -L" in answer.text
        assert TOKEN not in answer.text


def test_a_wrong_token_is_none(outside: Requests) -> None:
    for wrong in ("", "x", TOKEN[:-1], f"{TOKEN}x", TOKEN.upper(), "undefined"):
        assert outside("GET", STATUS, Authorization=f"Bearer {wrong}").status == 401
        assert outside("GET", f"{STATUS}?token={wrong}").status == 401
        cookie = f"joint_ga_{outside.port}={wrong}"
        assert outside("GET", STATUS, Cookie=cookie).status == 401
    # Another manager's cookie, and what would be one for a careless parser.
    assert outside("GET", STATUS, Cookie=f"joint_ga_1={TOKEN}").status == 401
    assert outside("GET", STATUS, Cookie=f"x_joint_ga_{outside.port}={TOKEN}").status == 401


@pytest.mark.parametrize("path", ["/tuner", "/platform/x", "/env/x/y"])
def test_no_web_socket_without_the_token(outside: Requests, path: str) -> None:
    assert " 401 " in handshake(outside, path)
    assert " 401 " in handshake(outside, f"{path}?token=wrong")


def test_a_web_socket_with_the_token(outside: Requests) -> None:
    assert " 101 " in handshake(outside, f"/platform/x?token={TOKEN}")
    assert " 101 " in handshake(outside, "/platform/x", Authorization=f"Bearer {TOKEN}")


def test_a_script_with_the_token(outside: Requests) -> None:
    for path, headers in (
        (STATUS, {"Authorization": f"Bearer {TOKEN}"}),
        (f"{STATUS}?token={TOKEN}", {}),
        # As the workers of a remote service may call the manager.
        (STATUS, {"Authorization": f"Bearer {TOKEN}", "Host": f"manager.lan:{outside.port}"}),
    ):
        answer = outside("GET", path, **headers)
        assert answer.status == 200, answer.text
        assert "RUNNING" in answer.text


def test_a_browser_swaps_the_token_for_a_cookie(outside: Requests) -> None:
    first = outside("GET", f"/logs/pareto.html?x=1&token={TOKEN}", **BROWSER)
    assert (first.status, first.headers["location"]) == (303, "/logs/pareto.html?x=1")
    cookie = first.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
    kept = cookie.partition(";")[0]
    page = {"Cookie": f"other=1; {kept}"}
    assert outside("GET", "/logs/pareto.html", **page, **BROWSER).status == 200
    assert outside("GET", "/api/v1/nni/trial-jobs", **page).status == 200
    assert " 101 " in handshake(outside, "/platform/x", **page)
    # No address of another site comes out of it.
    odd = outside("GET", f"//evil.example/?token={TOKEN}", **BROWSER)
    assert odd.headers["location"] == "/evil.example/"


def test_the_cookie_is_no_use_to_another_page(outside: Requests) -> None:
    """Of the same host on another port: the browser sends the cookie there as well."""
    page = {
        "Cookie": f"joint_ga_{outside.port}={TOKEN}",
        "Origin": f"http://{outside.host}:1",
        "Content_Type": "application/json",
    }
    assert (
        outside("POST", "/api/v1/nni/trial-jobs", '{"hyperParameters": "{}"}', **page).status == 403
    )
    del page["Origin"]
    same_site = {"Sec_Fetch_Site": "same-site", "Sec_Fetch_Mode": "no-cors"}
    assert outside("GET", STATUS, **page, **same_site).status == 403


def test_this_machine_needs_no_token(experiment: NniExperiment) -> None:
    inside = Requests("127.0.0.1", experiment.port)
    assert inside("GET", STATUS).status == 200
    # The tuner has come that way, a trial too.
    assert len(experiment.trials()) == 1
    assert " 101 " in handshake(inside, "/platform/y")


def test_neither_trials_nor_logs_hold_the_token(experiment: NniExperiment) -> None:
    tuner, trial = experiment.processes("-m nni --exp_params"), experiment.processes("trial.py")
    assert tuner
    assert trial
    for pid in (*tuner, *trial):
        assert TOKEN.encode() not in Path(f"/proc/{pid}/environ").read_bytes()
    for file in (experiment.home / "log").rglob("*"):
        assert not file.is_file() or TOKEN.encode() not in file.read_bytes(), file


def test_the_experiments_folder_is_its_owners(experiment: NniExperiment) -> None:
    assert stat.S_IMODE(experiment.home.stat().st_mode) == 0o700
    # What trials make is the user's: there the mask is as it was.
    mask = re.search(r"Umask:\s+(\d+)", Path("/proc/self/status").read_text())
    (pid, *_) = experiment.processes("trial.py")
    found = re.search(r"Umask:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert mask
    assert found
    assert found[1] == mask[1]
