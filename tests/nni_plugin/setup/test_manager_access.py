"""The token of a manager that listens beyond its own machine."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from nni_plugin.setup import manager_access
from nni_plugin.setup.launcher import Session


@pytest.mark.parametrize(
    ("host", "is_open"),
    [
        ("127.0.0.1", False),
        ("127.8.9.1", False),
        ("::1", False),
        ("localhost", False),
        ("0.0.0.0", True),
        ("::", True),
        ("*", True),
        ("10.0.0.5", True),
        ("fd00::2", True),
        ("board-host.lan", True),
    ],
)
def test_which_hosts_are_open(host: str, is_open: bool) -> None:
    assert manager_access.is_open(host) is is_open
    assert bool(manager_access.token_for(host)) is is_open


def test_a_token_outlives_its_start(tmp_path: Path) -> None:
    first = manager_access.token_for("0.0.0.0", tmp_path)
    assert len(first) >= 43
    assert manager_access.token_for("0.0.0.0", tmp_path) != first
    for _ in range(2):
        path = manager_access.keep_token(tmp_path, first)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert manager_access.token_for("0.0.0.0", tmp_path) == first
    path.write_text("")
    assert len(manager_access.token_for("0.0.0.0", tmp_path)) >= 43
    # What another user may have put there is not written through.
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    manager_access.keep_token(tmp_path, first)
    assert not (tmp_path / "elsewhere").exists()


def test_what_a_person_opens(tmp_path: Path) -> None:
    inside = Session("e", tmp_path, manager_access.shown_host("127.0.0.1"), 8080)
    assert inside.link() == inside.url == "http://127.0.0.1:8080"
    assert inside.link("/logs/x.html") == "http://127.0.0.1:8080/logs/x.html"
    beyond = Session("e", tmp_path, manager_access.shown_host("fd00::2"), 8080, token="t")
    assert beyond.link() == "http://[fd00::2]:8080/?token=t"
    assert beyond.link("/logs/x.html") == "http://[fd00::2]:8080/logs/x.html?token=t"
    assert beyond.url == "http://127.0.0.1:8080"
    assert manager_access.shown_host("0.0.0.0") not in manager_access.EVERYWHERE
