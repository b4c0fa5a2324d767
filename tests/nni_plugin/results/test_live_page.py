"""The live page: its files, and the page itself in a real browser."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import pytest

from nni_plugin.results.experiment import Experiment
from nni_plugin.results.live_page import LivePage, PageData, flatten, plotly_js
from nni_plugin.results.page_server import serve_folder
from nni_plugin.results.report import write_html
from nni_plugin.study.trial_log import TrialLog
from support.browser import complaints, open_page, wait_for


def state_of(folder):
    return json.loads((folder / "joint-ga" / "state.json").read_text())


def lines_of(folder, name):
    state = state_of(folder)
    data = (folder / "joint-ga" / f"{name}.jsonl").read_bytes()
    assert len(data) == state["bytes"][name]
    return [json.loads(line) for line in data.splitlines()]


def test_files_of_the_page(write, tmp_path):
    page = LivePage(tmp_path / "log", write() / "checkpoint" / "journal.jsonl", "exp1")
    page.write()
    folder = tmp_path / "log"
    state = state_of(folder)
    assert sorted(state["front"]) == [1, 2, 3]
    assert state["int8"] == 1
    assert state["limits"] == [{"metric": "ram_kb", "op": "<=", "limit": 64.0}]
    points = lines_of(folder, "points")
    assert points[1][:2] == [2, "tr2"]
    assert points[1][6] == [0.93, 20.0, 50.0]
    # Choices are stored by the index of their value: 0.25, 4 and 8.
    assert lines_of(folder, "genes")[1] == [2, [1, 1, 1]]
    assert (folder / "joint-ga" / "plotly.min.js").resolve() == plotly_js()


def test_files_only_grow_until_the_columns_change(write, events, tmp_path):
    journal = write(events[:5]) / "checkpoint" / "journal.jsonl"
    page = LivePage(tmp_path / "log", journal)
    page.write()
    first = (tmp_path / "log" / "joint-ga" / "points.jsonl").read_bytes()
    write(events)
    page.write()
    after = (tmp_path / "log" / "joint-ga" / "points.jsonl").read_bytes()
    assert after.startswith(first)
    generation = state_of(tmp_path / "log")["generation"]
    extra = {"event": "tell", "uid": 6, "metrics": {"accuracy": 0.1, "new": 1.0}, "time": 1.0}
    write([*events, extra])
    page.write()
    state = state_of(tmp_path / "log")
    assert state["generation"] != generation
    assert "new" in state["metrics"]
    assert len(lines_of(tmp_path / "log", "points")) == 6


def test_update_is_cheap_and_close_flushes(write, events, tmp_path):
    journal = write(events[:1]) / "checkpoint" / "journal.jsonl"
    page = LivePage(tmp_path / "log", journal)
    page.update()
    write(events)
    begin = time.perf_counter()
    for _ in range(1000):
        page.update()
    assert time.perf_counter() - begin < 0.5
    page.close()
    page.close()
    assert state_of(tmp_path / "log")["counts"]["complete"] == 5


def test_nothing_is_raised_into_the_tuner(write, tmp_path, caplog):
    (tmp_path / "log").write_text("a file where the folder should be")
    page = LivePage(tmp_path / "log", write() / "checkpoint" / "journal.jsonl")
    page.update()
    page.close()
    assert "cannot be written" in caplog.text


def test_the_tuners_process_imports_no_heavy_module_for_it():
    code = (
        "import sys; from nni_plugin.results.live_page import LivePage;"
        "from nni_plugin.results.pareto_front import knee;"
        "print([m for m in ('pandas', 'plotly', 'torch', 'matplotlib', 'nni') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_nested_choices_become_flat_genes(write):
    nested = {"m": {"_type": "choice", "_value": [
        {"_name": "a", "x": {"_type": "uniform", "_value": [0, 1]}}, {"_name": "b"}]}}  # fmt: skip
    start = {"event": "start", "objectives": {"s": "maximize"}, "space": nested, "time": 1.0}
    events = [start]
    for uid, params in enumerate(({"m": {"_name": "a", "x": 0.5}}, {"m": {"_name": "b"}}), 1):
        events += [
            {"event": "ask", "uid": uid, "params": params, "time": 1.0},
            {"event": "tell", "uid": uid, "metrics": {"s": uid}, "time": 2.0},
        ]
    data = PageData(TrialLog(write(events) / "checkpoint" / "journal.jsonl"))
    data.refresh()
    assert [g["name"] for g in data.genes] == ["m", "m/x"]
    assert [json.loads(line) for line in data.chromosomes] == [[1, [0, 0.5]], [2, [1, None]]]
    assert flatten({"m": {"_name": "a", "x": 0.5}}) == {"m": "a", "m/x": 0.5}


@pytest.fixture
def served(tmp_path):
    """Serves ``tmp_path/log`` on a free port."""
    (tmp_path / "log").mkdir(exist_ok=True)
    server = serve_folder(tmp_path / "log")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_ranges_of_a_growing_file(served, tmp_path):
    (tmp_path / "log" / "a.jsonl").write_text("0123456789")

    def get(**headers):
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        answer = opener.open(urllib.request.Request(f"{served}/a.jsonl", headers=headers))
        return answer.status, answer.read()

    assert get() == (200, b"0123456789")
    assert get(Range="bytes=4-6") == (206, b"456")
    assert get(Range="bytes=8-99") == (206, b"89")
    with pytest.raises(urllib.error.HTTPError, match="416"):
        get(Range="bytes=10-12")
    assert get(Range=f"bytes={'9' * 5000}-") == (200, b"0123456789")
    assert get(Host="localhost:9000")[0] == 200  # a port forwarded by SSH
    with pytest.raises(urllib.error.HTTPError, match="403"):
        get(Host="evil.example")


def test_a_busy_port_is_named(served, tmp_path):
    port = int(served.rpartition(":")[2])
    with pytest.raises(OSError, match=rf"port {port} is in use: choose another"):
        serve_folder(tmp_path, port)


# ---- in a browser


def requested(driver):
    """Addresses of all requests since the page was opened."""
    messages = [json.loads(e["message"])["message"] for e in driver.get_log("performance")]
    return [
        m["params"]["request"]["url"]
        for m in messages
        if m["method"] == "Network.requestWillBeSent"
    ]


@pytest.mark.browser
def test_the_page_follows_the_run(chromium, served, write, events, tmp_path):
    journal = write(events[:5]) / "checkpoint" / "journal.jsonl"
    page = LivePage(tmp_path / "log", journal, "exp1")
    page.write()
    open_page(chromium, f"{served}/pareto.html")
    assert chromium.execute_script("return window.jointGA.points") == 2
    assert "exp1" in chromium.title
    small = {"width": 1500, "height": 500, "deviceScaleFactor": 1, "mobile": False}
    chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", small)
    wait_for(chromium, "return !sight.near.has('slice')")
    write(events)
    page.write()
    wait_for(chromium, "return window.jointGA.points === 6 && window.jointGA.updates > 1")
    # What is out of sight is drawn once somebody comes near.
    slice_of = "return $('slice').getAttribute('aria-label')"
    before = chromium.execute_script(slice_of)
    chromium.execute_script("$('slice').scrollIntoView()")
    wait_for(chromium, f"return (() => {{ {slice_of} }})() !== arguments[0]", before)
    chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    front = "return document.querySelectorAll('#scatter .scatterlayer .point').length"
    assert wait_for(chromium, front) >= 4  # three on the front, and the marks
    text = chromium.find_element("tag name", "body").text
    for word in ("Trade-off", "Chosen point", "Hypervolume", "uniform int8", "baseline (float)"):
        assert word in text
    assert "exit code" not in chromium.find_element("id", "notice").text
    cells = "return document.querySelectorAll('#layers .cell').length"
    assert chromium.execute_script(cells) > 0
    # A point is chosen, axes are changed: the page redraws and stays free of errors.
    chromium.execute_script("choose(3)")
    assert "uid 3" in chromium.find_element("id", "chosen-metrics").text
    for control, value in (("x", "ram_kb"), ("colour", "size_kb"), ("hv-axis", "1")):
        chromium.execute_script(
            "const e = document.getElementById(arguments[0]); e.value = arguments[1];"
            "e.dispatchEvent(new Event('change'))",
            control,
            value,
        )
    assert (
        chromium.execute_script(
            "return document.querySelectorAll('#scatter .shapelayer path').length"
        )
        > 0
    )
    chromium.execute_script("document.getElementById('theme').click()")
    assert complaints(chromium) == []
    outside = [u for u in requested(chromium) if not u.startswith((served, "data:", "blob:"))]
    assert [u for u in outside if u != "about:blank"] == []


@pytest.mark.browser
def test_the_front_is_sketched_before_plotly_is_read(chromium, served, write, tmp_path):
    LivePage(tmp_path / "log", write() / "checkpoint" / "journal.jsonl", "exp1").write()
    plotly = tmp_path / "log" / "joint-ga" / "plotly.min.js"
    target = plotly.readlink()
    plotly.unlink()
    chromium.get(f"{served}/pareto.html")
    wait_for(chromium, "return document.getElementById('status').textContent === 'disconnected'")
    inked = (
        "const c = document.getElementById('cloud');"
        "const all = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
        "return all.filter((v, i) => i % 4 === 3 && v).length"
    )
    assert chromium.execute_script(inked) > 500
    assert chromium.execute_script("return typeof Plotly") == "undefined"
    assert "uid" in chromium.find_element("id", "chosen-metrics").text
    # The sketch answers the mouse, and the rest of the page is there.
    uid, tip = chromium.execute_script(
        "const row = frontRows()[0], [x, y] = pixel(row), box = $('scatter');"
        "const { left, top } = box.getBoundingClientRect();"
        "box.dispatchEvent(new MouseEvent('mousemove', { clientX: left + x, clientY: top + y }));"
        "return [row.uid, $('tip').hidden ? '' : $('tip').textContent]"
    )
    assert tip.startswith(f"uid {uid} ")
    assert "1 to 6 of 6" in chromium.find_element("id", "trials-count").text
    plotly.symlink_to(target)
    wait_for(chromium, "return window.jointGA.updates > 0")


@pytest.mark.browser
def test_every_kind_of_gene_has_its_row_in_the_heat_map(chromium, served, tmp_path, write):
    genes = {"a.prune": [0, 0.5], "a.rank": [0.5, 1.0], "a.sparsity": [0, 0.6], "a.w_bits": [4, 8],
             "a.a_bits": [8], "a.w_scheme": ["uniform", "power_of_two"],
             "pruner": ["l1", "fpgm"]}  # fmt: skip
    space = {name: {"_type": "choice", "_value": values} for name, values in genes.items()}
    params = {name: values[-1] for name, values in genes.items()}
    events = [
        {"event": "start", "objectives": {"s": "maximize"}, "space": space, "time": 1.0},
        {"event": "ask", "uid": 1, "params": params, "time": 1.0},
        {"event": "tell", "uid": 1, "metrics": {"s": 1.0}, "time": 2.0},
    ]
    LivePage(tmp_path / "log", write(events) / "checkpoint" / "journal.jsonl").write()
    open_page(chromium, f"{served}/pareto.html")
    text = chromium.find_element("id", "layers").text
    for word in (
        "pruned",
        "50%",
        "rank kept",
        "100%",
        "zeros",
        "60%",
        "weight scheme",
        "2ⁿ",
        "fpgm",
    ):
        assert word in text
    assert complaints(chromium) == []


@pytest.mark.browser
def test_nothing_finished_and_only_failures_are_said(chromium, served, write, events, tmp_path):
    journal = write(events[:1]) / "checkpoint" / "journal.jsonl"
    page = LivePage(tmp_path / "log", journal, "exp1")
    page.write()
    open_page(chromium, f"{served}/pareto.html")
    assert "Waiting for the first result" in chromium.find_element("id", "notice").text
    write([events[0], *events[-2:]])
    page.write()
    wait_for(chromium, "return document.getElementById('notice').textContent.includes('1 failed')")
    assert "exit code 1" in chromium.find_element("id", "notice").text
    assert complaints(chromium) == []


@pytest.mark.browser
def test_failed_trials_are_listed_with_their_reasons(chromium, served, write, events, tmp_path):
    over = "over its limit of 600 s (trial_limits.seconds)"
    markup = "KeyError: '<img src=x onerror=alert(1)>'"
    journal = write(events[:-2]) / "checkpoint" / "journal.jsonl"
    page = LivePage(tmp_path / "log", journal, "exp1")
    page.write()
    open_page(chromium, f"{served}/pareto.html")
    listed = chromium.find_element("id", "failures")
    assert not listed.is_displayed()
    more = [{"event": "ask", "uid": uid, "params": {}, "time": 1080.0} for uid in (7, 8, 9)] + [
        {"event": "fail", "uid": 7, "reason": over, "job": "tr7", "time": 1090.0},
        {"event": "fail", "uid": 8, "reason": markup, "trial": "tr8", "time": 1091.0},
        {"event": "censor", "uid": 9, "reason": "promises less", "metrics": {}, "time": 1092.0},
    ]
    write([*events, *more])
    page.write()
    wait_for(chromium, "return window.jointGA.points === 9")
    wait_for(chromium, "return document.querySelectorAll('#failures tr').length === 3")
    rows = [row.text for row in listed.find_elements("tag name", "tr")]
    assert rows == [f"uid 8 {markup} trial tr8", f"uid 7 {over} trial tr7",
                    "uid 6 exit code 1 trial tr6"]  # fmt: skip
    # A result that comes after all: no failure any more.
    late = {"event": "tell", "uid": 7, "metrics": {"accuracy": 0.5}, "time": 1093.0}
    write([*events, *more, late])
    page.write()
    wait_for(chromium, "return document.querySelectorAll('#failures tr').length === 2")
    assert complaints(chromium) == []
    frame = Experiment(journal.parents[1]).frame().set_index("uid")
    assert frame.loc[8, ["trial", "reason"]].tolist() == ["tr8", markup]
    assert frame.loc[9, "status"] == "censored"


@pytest.mark.browser
def test_the_report_is_one_file(chromium, write, tmp_path):
    report = tmp_path / "report.html"
    write_html(Experiment(write()), report)
    open_page(chromium, report.as_uri())
    assert chromium.execute_script("return window.jointGA.points") == 6
    assert "uid 2" in chromium.find_element("id", "chosen-metrics").text
    assert chromium.find_element("id", "failures").text == "uid 6 exit code 1 trial tr6"
    assert complaints(chromium) == []
    outside = [u for u in requested(chromium) if not u.startswith(("file:", "data:", "blob:"))]
    assert [u for u in outside if u != "about:blank"] == []
