"""The README and the pages it leads to."""

from __future__ import annotations

import re
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md")), ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", ROOT / "setup" / "README.md"]


def links(page: Path) -> list[str]:
    """What a page links to inside the project."""
    found = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    return [link for link in found if not re.match(r"[a-z]+:", link)]


def anchors(page: Path) -> set[str]:
    """The names of a page's headings, as links have them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


class TheDocs(unittest.TestCase):
    """Two screens, and everything else one click away."""

    def test_the_readme_is_two_screens(self) -> None:
        self.assertLessEqual(len(README.read_bytes()), 9_000)

    def test_every_link_leads_somewhere(self) -> None:
        for page in PAGES:
            for link in links(page):
                path, _, anchor = link.partition("#")
                target = (page.parent / path).resolve() if path else page
                self.assertTrue(target.exists(), f"{page.name}: {link}")
                if anchor:
                    self.assertIn(anchor, anchors(target), f"{page.name}: {link}")

    def test_every_page_is_reached_from_the_readme(self) -> None:
        reached, new = set(), [README]
        while new:
            page = new.pop()
            reached.add(page)
            targets = [(page.parent / link.partition("#")[0]).resolve() for link in links(page) if link.partition("#")[0]]
            new += [target for target in targets if target.suffix == ".md" and target.exists() and target not in reached]
        for page in PAGES:
            self.assertIn(page, reached, page.name)

    def test_one_term_each(self) -> None:
        for page in PAGES:
            text = page.read_text(encoding="utf-8").lower()
            if page.name != "CHANGELOG.md":
                self.assertNotRegex(text, r"\bverdicts?\b|network that ships|shipped network", page.name)


if __name__ == "__main__":
    unittest.main()
