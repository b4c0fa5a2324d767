"""``joint-ga report``, ``watch`` and ``compare``: what a run has found."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from nni_plugin.cli.options import Directory, Name
from nni_plugin.cli.output import add_result
from nni_plugin.cli.served_pages import serve_pages
from nni_plugin.user_paths import check_writable

__all__ = ["add_commands"]

_SHOWN_REASONS = 5


def report(
    experiment: Name,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder (default: runs/EXPERIMENT).")
    ] = None,
    directory: Directory = None,
) -> None:
    """Write CSV, PNG and a self-contained HTML page of a running or stopped experiment."""
    from ga.evaluation import FAILED
    from nni_plugin.cli.tables import found_tables, make_console
    from nni_plugin.results.experiment import Experiment, NoFrontError
    from nni_plugin.results.report import write_report

    console = make_console()
    opened = Experiment.open(experiment, directory)
    folder = output or Path("runs") / opened.id
    check_writable(folder, "--output")
    paths = write_report(opened, folder)
    add_result(experiment=opened.id, files=paths, counts=opened.log.counts())
    for name, path in paths.items():
        console.print(f"  {name:7} {path}", highlight=False, soft_wrap=True)
    failed = Counter(trial.reason for trial in opened.log.finished(FAILED))
    add_result(failures=dict(failed))
    if failed:
        print(f"Failed trials: {failed.total()}")
    for reason, number in failed.most_common(_SHOWN_REASONS):
        print(f"  {number:5}  {reason}")
    try:
        console.print(found_tables(opened.log, opened.history()))
    except NoFrontError as error:
        print(f"joint-ga: error: {error}", file=sys.stderr)
        raise typer.Exit(1) from error


def watch(
    experiments: Annotated[
        list[str] | None,
        typer.Argument(
            help="Ids or folders; several share one address. Without any, they are listed.",
            metavar="[EXPERIMENT]...",
        ),
    ] = None,
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1 (0: any free one).")] = 0,
    directory: Directory = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Serve all that would be listed.")
    ] = False,
) -> None:
    """Serve the live Pareto page on 127.0.0.1; works without NNI's manager. Ctrl-C ends it.

    Of several experiments there is a page with all of their fronts. Without an experiment it says
    which there are.
    """
    from nni_plugin.results.experiment import Experiment
    from nni_plugin.results.listing import list_experiments

    if not experiments and not everything:
        _list(directory)
        return
    names = experiments or [str(each.folder) for each in list_experiments(directory)]
    if not names:
        raise ValueError("--all: no JointGA experiment is there (see joint-ga watch)")
    where = directory if experiments else None
    serve_pages([Experiment.open(name, where) for name in names], port)


def _list(directory: Path | None) -> None:
    """Prints the experiments that there are."""
    from datetime import datetime

    from nni_plugin.cli.tables import dict_table, make_console
    from nni_plugin.results.experiment import experiments_folder
    from nni_plugin.results.listing import list_experiments

    found = list_experiments(directory)
    add_result(experiments=[asdict(each) for each in found])
    if not found:
        print(f"no JointGA experiment is in {directory or experiments_folder()} (--dir: elsewhere)")
        return
    rows = [
        {
            "experiment": each.experiment,
            "started": f"{datetime.fromtimestamp(each.started or 0):%Y-%m-%d %H:%M}",
            "state": each.ended or "running, or killed",
            "complete": f"{each.complete}/{each.planned}" if each.planned else each.complete,
            "failed": each.failed,
            "front": each.front,
            "hypervolume": each.hypervolume,
            "objectives": ", ".join(each.objectives),
        }
        for each in found
    ]
    make_console().print(dict_table(rows))
    print(f"Look at one: joint-ga watch {found[-1].experiment}; at all: joint-ga watch --all")


def compare(
    experiments: Annotated[
        list[str], typer.Argument(help="Two or more ids or folders.", metavar="EXPERIMENT...")
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Also write compare.csv and .png here.")
    ] = None,
    directory: Directory = None,
) -> None:
    """Compare experiments by hypervolume in one common box, judged by the first one's goals."""
    from nni_plugin.cli.tables import dict_table, make_console
    from nni_plugin.results.csv_file import write_csv
    from nni_plugin.results.experiment import Experiment
    from nni_plugin.results.report import compare as measure

    if output is not None:
        check_writable(output, "--output")
    comparison = measure([Experiment.open(name, directory) for name in experiments])
    rows = comparison.table.to_dict(orient="records")
    make_console().print(dict_table([{str(k): v for k, v in row.items()} for row in rows]))
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        write_csv(comparison.table, output / "compare.csv")
        comparison.draw(output / "compare.png")
        add_result(files={"csv": output / "compare.csv", "png": output / "compare.png"})
        print(f"written: {output / 'compare.csv'}, {output / 'compare.png'}")


def add_commands(app: typer.Typer) -> None:
    """Adds this module's commands."""
    app.command(epilog="Example:  joint-ga report hn4ce1zx -o report")(report)
    app.command(epilog="Example:  joint-ga watch hn4ce1zx --port 8800")(watch)
    app.command(epilog="Example:  joint-ga compare hn4ce1zx bq07xw2k -o comparison")(compare)
