#!/usr/bin/env python3
"""Pages in two languages show the same code, and the builder of the site finds broken links."""

import re
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "deploy/site"))

import build  # noqa: E402

HEADING = re.compile(r"^## ", re.MULTILINE)


def code(path):
    """The blocks of code of a page, without pictures."""
    return [block for block in build.FENCE.findall(path.read_text()) if not block.startswith("```\n")]


class Translations(unittest.TestCase):
    def test_each_shows_the_code_of_its_original(self):
        for name in ("quick-start.md", "laravel.md"):
            original, translated = code(ROOT / "docs" / name), code(ROOT / "docs/zh" / name)
            self.assertTrue(original, name)
            self.assertEqual(original, translated, name)

    def test_commands_of_the_chinese_overview_are_those_of_the_overview(self):
        self.assertLessEqual(set(code(ROOT / "README.zh-CN.md")), set(code(ROOT / "README.md")))

    def test_every_chinese_page_has_all_sections(self):
        for name in ("quick-start.md", "laravel.md"):
            count = [len(HEADING.findall((folder / name).read_text())) for folder in (ROOT / "docs", ROOT / "docs/zh")]
            self.assertEqual(count[0], count[1], name)


class Pages(unittest.TestCase):
    def test_every_page_of_the_documentation_is_in_the_summary(self):
        listed = set(build.pages())
        for path in (ROOT / "docs").rglob("*.md"):
            if path.name != "SUMMARY.md":
                self.assertIn(path.resolve(), listed, path)


class Links(unittest.TestCase):
    def site(self, **pages):
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        for name, text in pages.items():
            (folder / f"{name}.html").write_text(text)
        return sorted(build.broken_links(folder))

    def test_missing_files_and_headings_are_found(self):
        found = self.site(
            a='<h1 id="top">A</h1><a href="b.html#there"></a><a href="c.html"></a><a href="#no"></a>',
            b='<h2 id="here"></h2><a href="a.html#top"></a><a href="https://example.com/"></a>',
        )
        self.assertEqual(
            found,
            ["a.html: #no: no such heading", "a.html: b.html#there: no such heading", "a.html: c.html: no such file"],
        )


if __name__ == "__main__":
    unittest.main()
