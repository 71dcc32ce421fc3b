"""Tests of the links between the pages of the documentation."""

import re
from pathlib import Path

import pytest
from conftest import REPOSITORY

PAGES = [file for pattern in ('*.md', '[!.]*/*.md') for file in sorted(REPOSITORY.glob(pattern))]
CODE = re.compile(r'```.*?```', re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives the headings of a page."""
    headings = re.findall(r'^#+ (.+)$', CODE.sub('', page.read_text()), re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-') for heading in headings}


@pytest.mark.parametrize('page', PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_lead_to_files_and_headings(page):
    broken = []
    for link in re.findall(r'\]\((?!https?:)([^)\s]+)\)', CODE.sub('', page.read_text())):
        name, _, anchor = link.partition('#')
        target = page.parent / name if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []
