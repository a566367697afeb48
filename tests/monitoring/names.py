"""Every metric that documents, alerts or the board name is served, and every served one is documented.

    names.py ROOT PAGE...    pages of /metrics in the text format
"""

import pathlib
import re
import sys

root, pages = pathlib.Path(sys.argv[1]), sys.argv[2:]
families = {}
for page in pages:
    for line in pathlib.Path(page).read_text().splitlines():
        if found := re.match(r"# TYPE (\S+) (\S+)", line):
            families[found[1]] = found[2]
served = set(families)
for family, kind in families.items():
    if kind == "histogram":
        served |= {family + end for end in ("_bucket", "_sum", "_count")}

files = [root / "deploy/prometheus/alerts.yml", root / "deploy/grafana/push-suite.json"]
files += sorted(root.glob("docs/*.md")) + sorted(root.glob("docs/runbooks/*.md"))
named, wrong = set(), []
for file in files:
    for name in re.findall(r"\b(?:pushsuite|process)_[a-z0-9_]+", file.read_text()):
        named.add(name)
        # `pushsuite_worker_presence_…` stands for all that begin so.
        begins = name.endswith("_") and any(other.startswith(name) for other in served)
        if not begins and name not in served:
            wrong.append(f"{file.relative_to(root)}: {name} is not served")
for family in sorted(served - {name for name in served if name not in families}):
    begins = any(name.endswith("_") and family.startswith(name) for name in named)
    if family not in named and not begins:
        wrong.append(f"docs: {family} is not documented")
alerts = re.findall(r"alert: (\w+)", (root / "deploy/prometheus/alerts.yml").read_text())
runbooks = {file.stem for file in root.glob("docs/runbooks/Push*.md")}
wrong += [f"alert {name} has no runbook, or the other way round" for name in set(alerts) ^ runbooks]
# Patterns of `journalctl -g` are words of log lines.
sources = "".join(file.read_text() for file in root.glob("crates/*/src/**/*.rs"))
for file in sorted(root.glob("docs/runbooks/*.md")):
    for pattern in re.findall(r'journalctl .*?-g "?([^"\n]+?)"? -n', file.read_text()):
        for word in pattern.split("|"):
            if word not in sources:
                wrong.append(f"{file.name}: no log line has {word!r}")
if wrong:
    sys.exit("\n".join(sorted(set(wrong))))
print(f"{len(named)} names of metrics in {len(files)} files exist; {len(alerts)} alerts have runbooks")
