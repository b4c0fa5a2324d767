"""What pages say of each other, and of the repository."""

import re

import pytest
import yaml

from support.paths import REPOSITORY

DOCS = REPOSITORY / "docs"
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]


def anchors(page):
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_link_leads_to_a_file_and_a_heading(page):
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        if target.startswith("http"):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.is_file(), target
        assert not anchor or anchor in anchors(file), target


def test_every_page_stands_in_the_navigation():
    nav = yaml.safe_load((REPOSITORY / "mkdocs.yml").read_text())["nav"]
    sections = [[entry] if isinstance(entry, str) else next(iter(entry.values())) for entry in nav]
    listed = {page for section in sections for page in section}
    assert listed == {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")}


@pytest.mark.parametrize("page", sorted((DOCS / "benchmarks").glob("*.md")), ids=lambda p: p.stem)
def test_a_table_of_figures_is_followed_by_its_command(page):
    blocks = re.split(r"\n{2,}", page.read_text())
    for table, after in zip(blocks, [*blocks[1:], ""], strict=True):
        if table.startswith("|") and re.search(r"±|\d*\.\d|\d %", table):
            assert after.startswith("Command: "), table.splitlines()[0]


def test_the_readme_shows_the_tutorials_model():
    listings = [
        re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)[0]
        for page in (REPOSITORY / "README.md", DOCS / "guide" / "own_model.md")
    ]
    assert listings[0] == listings[1]
