#!/usr/bin/env python3
"""Builds the documentation as a site with mdBook, and checks every link of it.

    python3 deploy/site/build.py [FOLDER]

The pages of docs/SUMMARY.md become the site; a link to any other file of the project becomes one to
a copy of that file. FOLDER is target/site without an argument. The site needs no server: it can be
opened from the disk, or be served by anything.
"""

import html
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SUMMARY = ROOT / "docs/SUMMARY.md"

# The first page of each language, under the name that a web server expects.
OVERVIEWS = {"README.md": Path("index.md"), "README.zh-CN.md": Path("zh/index.md")}

LINK = re.compile(r"(\]\()([^)\s]+)(\))")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def pages():
    """The pages of the summary: their path in the project, and that in the site."""
    found = {}
    for target in (match[1] for match in LINK.findall(SUMMARY.read_text())):
        path = (SUMMARY.parent / target).resolve()
        relative = path.relative_to(ROOT)
        inside = relative.relative_to("docs") if relative.parts[0] == "docs" else relative
        found[path] = OVERVIEWS.get(inside.name, inside)
    return found


class Source:
    """The folder from which mdBook builds: pages with adapted links, and copies of linked files."""

    def __init__(self, folder):
        self.folder = folder
        self.pages = pages()

    def write(self):
        for path, inside in self.pages.items():
            self.put(inside, self.adapted(path, inside))
        summary = LINK.sub(self.summary_link, SUMMARY.read_text())
        self.put(Path("SUMMARY.md"), summary)

    def put(self, inside, text):
        target = self.folder / inside
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def summary_link(self, match):
        inside = self.pages[(SUMMARY.parent / match[2]).resolve()]
        return f"{match[1]}{inside}{match[3]}"

    def adapted(self, path, inside):
        """The text of a page, with links as they are in the site. Code stays as it is."""
        text, parts, end = path.read_text(), [], 0
        for fence in FENCE.finditer(text):
            parts += [self.with_links(text[end : fence.start()], path, inside), fence[0]]
            end = fence.end()
        return "".join([*parts, self.with_links(text[end:], path, inside)])

    def with_links(self, text, path, inside):
        def replace(match):
            url = urlsplit(match[2])
            if url.scheme or not url.path:
                return match[0]
            target = (path.parent / unquote(url.path)).resolve()
            fragment = f"#{url.fragment}" if url.fragment else ""
            site_path = self.pages.get(target) or self.copy(target, path)
            relative = os.path.relpath(site_path, inside.parent)
            return f"{match[1]}{relative}{fragment}{match[3]}"

        return LINK.sub(replace, text)

    def copy(self, target, page):
        """Copies a file of the project that is no page. Returns its path in the site."""
        if not target.exists():
            sys.exit(f"{page.relative_to(ROOT)} links to {target}, which does not exist")
        relative = target.relative_to(ROOT)
        # mdBook takes no Markdown file that is not a page, and links to none.
        is_shown = relative.suffix not in (".md", "")
        name = relative if is_shown else relative.with_name(f"{relative.stem}{relative.suffix.replace('.', '-')}.txt")
        if target.is_dir():
            return self.list(target, Path("files") / relative)
        to = self.folder / "files" / name
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(target, to)
        return Path("files") / name

    def list(self, folder, inside):
        """A page that lists the files of a folder."""
        names = subprocess.run(
            ["git", "ls-files", "."], cwd=folder, check=True, capture_output=True, text=True
        ).stdout.splitlines()
        items = []
        for name in names:
            copy = self.copy(folder / name, folder)
            link = os.path.relpath(copy, inside)
            items.append(f'<li><a href="{html.escape(link)}">{html.escape(name)}</a></li>')
        self.put(
            inside / "index.html",
            "<!doctype html><meta charset='utf-8'><title>Files</title>"
            f"<h1>{html.escape(str(folder.relative_to(ROOT)))}</h1><ul>{''.join(items)}</ul>\n",
        )
        return inside / "index.html"


class Page(HTMLParser):
    """The links and the anchors of a page of the site."""

    def __init__(self, path):
        super().__init__()
        self.links, self.anchors = [], set()
        self.feed(path.read_text())

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.anchors.update(attrs[name] for name in ("id", "name") if attrs.get(name))
        for name in ("href", "src"):
            if attrs.get(name):
                self.links.append(attrs[name])


def broken_links(site):
    """Each link of the site whose file or whose anchor does not exist."""
    parsed = {path: Page(path) for path in site.rglob("*.html")}
    for path, page in parsed.items():
        # These repeat other pages: one for print, and one for paths that do not exist.
        if path.name in ("print.html", "404.html", "toc.html"):
            continue
        for link in page.links:
            url = urlsplit(link)
            if url.scheme:
                continue
            target = (path.parent / unquote(url.path)).resolve() if url.path else path
            if target.is_dir():
                target /= "index.html"
            if not target.exists():
                yield f"{path.relative_to(site)}: {link}: no such file"
            elif url.fragment and target in parsed:
                if unquote(url.fragment) not in parsed[target].anchors:
                    yield f"{path.relative_to(site)}: {link}: no such heading"


def main():
    site = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "target/site").resolve()
    book = site.with_name(site.name + "-book")
    shutil.rmtree(book, ignore_errors=True)
    shutil.rmtree(site, ignore_errors=True)
    Source(book / "source").write()
    shutil.copyfile(HERE / "book.toml", book / "book.toml")
    mdbook = os.environ.get("MDBOOK", "mdbook")
    subprocess.run([mdbook, "build", "--dest-dir", str(site), str(book)], check=True)
    broken = sorted(set(broken_links(site)))
    if broken:
        sys.exit("broken links:\n" + "\n".join(broken))
    print(f"{len(pages())} pages, every link checked: {site}/index.html")


if __name__ == "__main__":
    main()
