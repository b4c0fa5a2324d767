"""Keeps the pages of experiments up to date and serves them, until Ctrl-C: ``joint-ga watch``."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nni_plugin.results.experiment import Experiment
    from nni_plugin.results.live_page import LivePage

INDEX = "index.html"
__all__ = ["render_pages", "serve_pages"]

_POLL_S = 1.0


def render_pages(experiments: Sequence[Experiment], folder: Path) -> list[LivePage]:
    """The pages of experiments, to be written into a folder; of several also that of all of them.

    Args:
        experiments: one or more; of several each has a folder of its own there.
        folder: made if it is missing.
    """
    from nni_plugin.results.live_page import LivePage, render_index
    from nni_plugin.results.trial_command import planned_trials

    names = _distinct([experiment.id for experiment in experiments])
    several = len(names) > 1
    folder.mkdir(parents=True, exist_ok=True)
    if several:
        (folder / INDEX).write_text(render_index(names), encoding="utf-8")
    return [
        LivePage(folder / name if several else folder, each.journal, name, planned_trials(each))
        for each, name in zip(experiments, names, strict=True)
    ]


def serve_pages(experiments: Sequence[Experiment], port: int) -> None:
    """Serves one experiment's page, or of several a page of all with each one's in a folder.

    Args:
        experiments: one or more.
        port: on 127.0.0.1; 0 picks a free one.

    Raises:
        OSError: the port is in use.
    """
    from nni_plugin.results.page_server import serve_folder

    # Own files instead of those in the log folder: they may be old, or not ours to write.
    with tempfile.TemporaryDirectory(prefix="joint-ga-") as top:
        pages = render_pages(experiments, Path(top))
        sizes = [-1 for _ in pages]
        _write_grown(experiments, pages, sizes)
        server = serve_folder(Path(top), port)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        first = INDEX if len(pages) > 1 else "pareto.html"
        print(f"http://127.0.0.1:{server.server_port}/{first}  (Ctrl-C ends)", flush=True)
        try:
            while True:
                time.sleep(_POLL_S)
                _write_grown(experiments, pages, sizes)
        finally:
            server.shutdown()


def _write_grown(
    experiments: Sequence[Experiment], pages: Sequence[LivePage], sizes: list[int]
) -> None:
    """Writes the pages whose journals have grown, and notes how long these are now."""
    for index, (page, each) in enumerate(zip(pages, experiments, strict=True)):
        if (now := each.journal.stat().st_size) != sizes[index]:
            sizes[index] = now
            page.write()


def _distinct(names: Sequence[str]) -> list[str]:
    """Names of folders: experiments of the same name in different places get a number."""
    return [
        name if names.count(name) == 1 else f"{name}-{index + 1}"
        for index, name in enumerate(names)
    ]
