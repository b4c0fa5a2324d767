"""What people see and can do on the page, in a real browser: any width, any hand, any ear."""

from __future__ import annotations

import csv
import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nni_plugin.cli.served_pages import render_pages
from nni_plugin.results.experiment import Experiment
from nni_plugin.results.live_page import render
from nni_plugin.results.page_data import PageData
from nni_plugin.results.page_server import serve_folder
from nni_plugin.results.report import write_html
from nni_plugin.study.trial_log import TrialLog
from support.axe import COLOUR_RULES, grave_findings
from support.browser import complaints, open_page, wait_for
from support.journals import plain_search, searched, write_experiment

TOO_WIDE = """
const wide = document.documentElement.clientWidth, found = [];
for (const node of document.querySelectorAll('body *')) {
  if (node.closest('#tip, .unseen, .skip')) continue;
  const { width, right } = node.getBoundingClientRect();
  if (width && right > wide + 1) found.push(`${node.tagName} ${node.id} ${right}`);
}
for (const node of document.querySelectorAll('.card, .card > *, .bar, header, header *')) {
  if (node.scrollWidth > node.clientWidth + 1 && node.clientWidth && !node.closest('svg'))
    found.push(`scrolls ${node.tagName} ${node.id} ${node.scrollWidth} > ${node.clientWidth}`);
}
return found;
"""

REDRAWN = """
const low = getComputedStyle(document.documentElement).getPropertyValue('--low').trim();
return document.getElementById('layers').dataset.key.includes(`${innerWidth},${low},`);
"""
AS_OPENED = """
Object.assign(controls, { chosen: null, against: null, follow: true });
Object.assign(trialTable, { by: ORDER, down: true, page: 0 });
$('trials-filter').value = '';
$('trials-show').value = 'all';
drawFront();
drawRest();
"""


def resize(driver: Any, width: int, height: int = 1000) -> None:
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def prefer(driver: Any, scheme: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


@pytest.fixture
def page(chromium: Any) -> Iterator[Any]:
    """The browser, as wide and as light as the other tests have it afterwards."""
    yield chromium
    chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    prefer(chromium, "light")


@pytest.fixture(scope="module")
def layered(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """A search of eight layers, its report beside its folder."""
    folder = tmp_path_factory.mktemp("layered")
    experiment = Experiment(write_experiment(folder / "exp1", searched(40, 8)))
    write_html(experiment, folder / "report.html")
    return experiment


@pytest.fixture
def layers_page(page: Any, layered: Experiment) -> Any:
    """That report, as it looks when it is opened; the browser reads it once for all tests."""
    url = (layered.folder.parent / "report.html").as_uri()
    if page.current_url == url:
        page.execute_script(AS_OPENED)
    else:
        open_page(page, url)
    return page


def select(driver: Any, control: str, value: str, event: str = "change") -> None:
    driver.execute_script(
        "const e = document.getElementById(arguments[0]); e.value = arguments[1];"
        "e.dispatchEvent(new Event(arguments[2]))",
        *(control, value, event),
    )


def report_of(write: Any, tmp_path: Path, events: list[dict[str, Any]]) -> str:
    report = tmp_path / "report.html"
    write_html(Experiment(write(events)), report)
    return report.as_uri()


@pytest.mark.parametrize(
    ("events", "looks"),
    [
        (searched(40, 8), [(400, "light"), (400, "dark"), (1400, "dark"), (1400, "light")]),
        (plain_search(30), [(400, "light"), (1400, "dark"), (1400, "light")]),
        (searched(4, 60), []),
    ],
    ids=["layers", "plain", "many layers"],
)
def test_any_width_and_any_scheme(page, write, tmp_path, events, looks) -> None:
    """Nothing overflows at 400 pixels; axe has no grave finding, narrow or wide, light or dark."""
    resize(page, 400)
    open_page(page, report_of(write, tmp_path, events))
    assert page.execute_script(TOO_WIDE) == []
    select(page, "against", "1")
    assert page.execute_script(TOO_WIDE) == []
    for width, scheme in looks:
        resize(page, width)
        prefer(page, scheme)
        wait_for(page, REDRAWN)
        rules = COLOUR_RULES if scheme == "dark" else ()
        assert grave_findings(page, rules) == [], (width, scheme)
    assert complaints(page) == []


def test_axe_finds_what_is_wrong(page, tmp_path) -> None:
    (tmp_path / "bad.html").write_text("<html><body><img src='x'><input></body></html>")
    page.get((tmp_path / "bad.html").as_uri())
    assert {text.split()[1] for text in grave_findings(page)} >= {"image-alt:", "label:"}
    page.execute_script("document.body.innerHTML = '<p style=\"color: #ccc\">pale</p>'")
    assert [text.split()[1] for text in grave_findings(page, COLOUR_RULES)] == ["color-contrast:"]


def test_every_axis_has_its_unit_and_the_legend_covers_no_point(layers_page) -> None:
    page = layers_page
    titles = page.execute_script(
        "return [...document.querySelectorAll('#scatter .xtitle, #scatter .ytitle')]"
        ".map((t) => t.textContent)"
    )
    assert titles == ["size_kb (KB)", "accuracy (share of 1)"]
    heads = [th.text for th in page.find_elements("css selector", "#chosen-metrics tbody th")]
    assert "latency_ms (ms)" in heads
    legend, plot = (page.find_element("id", name).rect for name in ("legend", "scatter"))
    assert legend["y"] + legend["height"] <= plot["y"]
    assert "uniform int8" in page.find_element("id", "legend").text
    words = page.find_element("tag name", "main").text
    for word in ("Knee:", "uid:", "Infeasible:", "Pareto front:", "Uniform int8:"):
        assert word in words


def test_a_keyboard_alone_goes_along_the_front(layers_page) -> None:
    from selenium.webdriver.common.keys import Keys

    page = layers_page
    before = page.execute_script("return controls.chosen")
    page.find_element("id", "scatter").send_keys(Keys.ARROW_RIGHT)
    after = page.execute_script("return controls.chosen")
    assert after != before
    assert f"uid {after}" in page.execute_script(
        "return document.getElementById('announce').textContent"
    )
    outline = "return getComputedStyle(document.activeElement).outlineStyle"
    assert page.execute_script(outline) == "solid"
    page.execute_script("document.querySelector('#trials td button').focus()")
    page.switch_to.active_element.send_keys(Keys.ENTER)
    assert page.execute_script("return controls.chosen") == 40


def test_two_points_layer_by_layer(layers_page) -> None:
    page = layers_page
    page.execute_script("choose(2)")
    select(page, "against", "1")
    differs = page.execute_script(
        "const [a, b] = [2, 1].map((uid) => store.byUid.get(uid).genes);"
        "return [document.querySelectorAll('#layers .differs').length,"
        " 2 * a.filter((v, i) => v !== b[i]).length]"
    )
    assert differs[0] == differs[1] > 0
    heads = [th.text for th in page.find_elements("css selector", "#chosen-metrics thead th")]
    assert heads[:3] == ["uid 2", "uid 1", "difference"]
    assert "weight bits, uid 1" in page.find_element("id", "layers").text


def test_a_line_of_all_metrics_is_shown_and_chosen(layers_page) -> None:
    page = layers_page
    found = page.execute_script(
        "const { row, points } = parallel.lines[0], box = $('parallel').getBoundingClientRect();"
        "const i = points.findIndex((p, k) => parallel.lines.every((l) => l.row === row ||"
        "  Math.abs(l.points[k] - p) > 2));"
        "const at = { clientX: box.left + parallel.at[i], clientY: box.top + points[i] };"
        "const shown = ['mousemove', 'click'].map((type) => {"
        "  $('parallel').dispatchEvent(new MouseEvent(type, at)); return $('tip').textContent; });"
        "return [row.uid, shown[0], controls.chosen, parallel.lines.at(-1).row.uid];"
    )
    uid, tip, chosen, last = found
    assert tip.startswith(f"uid {uid} ")
    assert chosen == last == uid
    said = page.find_element("id", "parallel").get_attribute("aria-label")
    assert said.startswith("Parallel lines of accuracy")
    assert "latency_ms (ms)" in said


def test_a_slice_says_the_means_of_a_gene(layers_page, layered) -> None:
    select(layers_page, "slice-gene", "layer0.w_bits")
    frame = layered.frame()
    said = layers_page.find_element("id", "slice").get_attribute("aria-label")
    for bits, group in frame.groupby("layer0.w_bits"):
        assert f"{bits}: {group['accuracy'].mean():.4g}"[:8] in said
        assert f"({len(group)})" in said


def test_importances_are_shares_of_one_whole_and_fixed_genes_are_named(layers_page) -> None:
    page = layers_page
    bars = page.find_elements("css selector", "#importance .gene span:last-child")
    shares = page.execute_script(
        "const { scores, rest } = geneImportance('accuracy');"
        "return [...scores.map(([, share]) => share), rest]"
    )
    assert sum(shares) == pytest.approx(1)
    assert len(bars) == len(shares)
    text = page.find_element("id", "importance").text
    assert "Never varied" in text
    assert "layer0.a_bits = 8" in text


def test_trials_are_sorted_filtered_and_downloaded(page, write, tmp_path) -> None:
    events = searched(40, 8)
    events += [
        {"event": "ask", "uid": 41, "params": {}, "origin": "=cmd()", "time": 1300.0},
        {"event": "fail", "uid": 41, "reason": '=1+1, "quoted"', "time": 1301.0},
    ]
    experiment = Experiment(write(events))
    open_page(page, report_of(write, tmp_path, events))
    column = (
        "return [...document.querySelectorAll('#trials tbody tr')]"
        ".map((row) => row.cells[3].textContent)"
    )
    head = "document.querySelector('#trials th button[data-by=size_kb]').click()"
    page.execute_script(head)
    sizes = [float(text) for text in page.execute_script(column)]
    assert sizes == sorted(sizes)
    assert len(sizes) == 25
    page.execute_script(head)
    assert (
        page.find_element("css selector", "th[aria-sort]").get_attribute("aria-sort")
        == "descending"
    )
    select(page, "trials-filter", "size_kb<=60 layer0.w_bits=4", "input")
    rows = list(csv.DictReader(io.StringIO(page.execute_script("return trialsCsv()"))))
    frame = experiment.frame()
    fits = frame[(frame["size_kb"] <= 60) & (frame["layer0.w_bits"] == 4)]
    assert sorted(int(row["uid"]) for row in rows) == sorted(fits["uid"])
    assert {row["front"] for row in rows} <= {"True", "False"}
    for row in rows:
        assert float(row["accuracy"]) == frame.set_index("uid").loc[int(row["uid"]), "accuracy"]
    select(page, "trials-filter", "nonsense<=60", "input")
    assert 'no metric or gene "nonsense"' in page.find_element("id", "trials-count").text
    select(page, "trials-filter", "", "input")
    select(page, "trials-show", "failed")
    (row,) = csv.DictReader(io.StringIO(page.execute_script("return trialsCsv()")))
    assert row["reason"] == '\'=1+1, "quoted"'
    assert row["origin"] == "'=cmd()"


def test_one_plain_number_gets_a_page_that_fits_it(page, write, tmp_path) -> None:
    open_page(page, report_of(write, tmp_path, plain_search(30)))
    text = page.find_element("tag name", "body").text
    assert page.execute_script("return [$('x').value, $('y').value]") == ["trial", "default"]
    for word in (
        "Trade-off",
        "Pareto",
        "Hypervolume",
        "All metrics",
        "Layers",
        "joint-ga export",
        "knee",
    ):
        assert word not in text, word
    for word in ("best default", "Parameters of the chosen trial", "momentum", "best so far"):
        assert word in text, word
    trials = Experiment(tmp_path / "exp1").log.finished()
    best = max(trials, key=lambda trial: trial.metrics["default"])
    assert page.execute_script("return controls.chosen") == best.uid


def test_expected_test_and_interval_stand_beside_the_measured_value(page, write, tmp_path) -> None:
    events = searched(12, 3)
    events[0] = {**events[0], "stack": {"device": "stm32f746", "name": "joint-ga-c"}}
    for event in events:
        if event["event"] == "tell":
            accuracy = event["metrics"]["accuracy"]
            event["metrics"] |= {
                "expected_accuracy": accuracy + 0.01, "expected_accuracy_low": accuracy - 0.01,
                "expected_accuracy_high": accuracy + 0.02, "test_accuracy": accuracy - 0.1,
            }  # fmt: skip
    open_page(page, report_of(write, tmp_path, events))
    text = page.find_element("id", "chosen-metrics").text
    assert "expected 0." in text
    assert "test 0." in text
    assert "far from its" in text
    assert "nine boards of ten" in text
    rows = [th.text for th in page.find_elements("css selector", "#chosen-metrics tbody th")]
    assert not [row for row in rows if row.startswith(("expected", "test"))]
    # What ranks is what the chart shows, and what a limit on the metric is drawn at.
    assert page.execute_script("return document.getElementById('y').value") == "expected_accuracy"
    shown = page.execute_script(
        "store.state.limits = [{metric: 'accuracy', op: '>=', limit: 0.5}]; drawScatter();"
        "return document.getElementById('scatter').layout.shapes.map((s) => s.y0)"
    )
    assert 0.5 in shown
    page.execute_script(
        "const y = document.getElementById('y'); y.value = 'accuracy';"
        "y.dispatchEvent(new Event('change')); drawFront()"
    )
    assert page.execute_script("return document.getElementById('y').value") == "accuracy"
    assert "beyond a limit" not in page.find_element("id", "legend").text


def test_finalists_stand_side_by_side(page, write, tmp_path) -> None:
    data = PageData(TrialLog(Experiment(write(searched(12, 3))).journal), "exp1")
    data.refresh()
    embedded = data.embedded()
    row = {"uid": 3, "metric": "accuracy", "measured": 0.91, "expected": 0.93, "low": 0.925,
           "high": 0.94, "trainings": 3, "mean": 0.932, "test": 0.926}  # fmt: skip
    embedded["state"] |= {"finalists": [row], "trained": 3}
    file = tmp_path / "page.html"
    file.write_text(render(embedded), encoding="utf-8")
    open_page(page, file.as_uri())
    cells = [cell.text for cell in page.find_elements("css selector", "#finalists tbody td")]
    assert cells == ["0.91", "0.93\n0.925 to 0.94", "0.932\nmean of 3", "0.926"]
    assert "trained to the end\n3" in page.find_element("id", "figures").text
    page.find_element("css selector", "#finalists button").click()
    assert page.execute_script("return controls.chosen") == 3


def test_the_page_knows_when_a_kept_experiment_is_done(page, write, tmp_path) -> None:
    """NNI's trials are all done, the tuner still lives, and its journal holds no end."""
    events = searched(12, 3)
    for planned, word in ((12, "done: all planned trials are done"), (20, "report")):
        data = PageData(TrialLog(Experiment(write(events)).journal), "exp1", planned)
        data.refresh()
        file = tmp_path / "page.html"
        file.write_text(render(data.embedded()), encoding="utf-8")
        open_page(page, file.as_uri())
        assert page.find_element("id", "status").text == word
        assert f"12 of {planned}" in page.find_element("id", "figures").text


def test_several_experiments_in_one_view(page, write, tmp_path) -> None:
    opened = [
        Experiment(write(searched(40, 8), "first")),
        Experiment(write(searched(20, 8, seed=1), "second")),
        Experiment(write(plain_search(30), "plain")),
    ]
    folder = tmp_path / "pages"
    for each in render_pages(opened, folder):
        each.write()
    server = serve_folder(folder)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        resize(page, 400)
        url = f"http://127.0.0.1:{server.server_port}"
        page.get(f"{url}/index.html")
        wait_for(page, "return window.jointGA.updates > 0")
        assert page.execute_script(TOO_WIDE) == []
        assert grave_findings(page) == []
        assert "first (" in page.find_element("id", "fronts").get_attribute("aria-label")
        assert "second (" in page.find_element("id", "fronts").get_attribute("aria-label")
        page.find_element("link text", "second").click()
        wait_for(page, "return window.jointGA && window.jointGA.updates > 0")
        assert page.execute_script("return window.jointGA.points") == 20
        assert page.find_element("link text", "all experiments").is_displayed()
    finally:
        server.shutdown()
