"""Pictures of the Pareto page for the documentation, from an experiment that has run.

    joint-ga run experiment_configs/ga_joint.yml --engine local
    python -m benchmarks.page_pictures EXPERIMENT [-o docs/images]

Writes `pareto_page.png` and `pareto_page_dark.png`. Needs chromium and selenium.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from pathlib import Path

from PIL import Image

from benchmarks.page_speed import READY, browser, wait
from nni_plugin.results.experiment import Experiment
from nni_plugin.results.report import write_html

WIDTH, HEIGHT = 1440, 1180
MOST_BYTES = 150_000
COLOURS = (256, 128, 64, 32)


def write_picture(png: bytes, path: Path) -> None:
    """Saves a screenshot with as many colours as its size leaves room for.

    Raises:
        ValueError: it is too large with the fewest.
    """
    with Image.open(io.BytesIO(png)) as picture:
        whole = picture.convert("RGB")
    for colours in COLOURS:
        few = whole.quantize(colours, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        few.save(path, optimize=True)
        if path.stat().st_size <= MOST_BYTES:
            return
    raise ValueError(f"{path} is larger than {MOST_BYTES:,} bytes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("experiment")
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/images"))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        report = Path(name) / "report.html"
        write_html(Experiment.open(args.experiment), report)
        driver = browser(f"{name}/profile")
        try:
            size = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            for scheme, file in (("light", "pareto_page.png"), ("dark", "pareto_page_dark.png")):
                features = [{"name": "prefers-color-scheme", "value": scheme}]
                driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
                driver.get(report.as_uri())
                wait(lambda: driver.execute_script(READY, 1))
                write_picture(driver.get_screenshot_as_png(), args.output / file)
        finally:
            driver.quit()


if __name__ == "__main__":
    main()
