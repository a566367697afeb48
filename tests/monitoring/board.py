"""Every query of the Grafana board is one that Prometheus executes.

    board.py BOARD PROMETHEUS
"""

import json
import sys
import urllib.error
import urllib.parse
import urllib.request

board, prometheus = json.load(open(sys.argv[1])), sys.argv[2]
queries = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
assert len(queries) > 30, "the board is empty"
empty = []
for query in queries:
    plain = query.replace("$__rate_interval", "1m").replace("$instance", ".*")
    assert "$" not in plain, f"an unknown variable: {query}"
    url = f"{prometheus}/api/v1/query?" + urllib.parse.urlencode({"query": plain})
    try:
        answer = json.load(urllib.request.urlopen(url))
    except urllib.error.HTTPError as error:
        sys.exit(f"{query}: {error.read().decode()}")
    if not answer["data"]["result"]:
        empty.append(query)
print(f"{len(queries)} queries of the board; {len(empty)} without a value in an idle suite")
