#!/usr/bin/env bash
# The compose file, the manifests of Kubernetes and the bill of materials against their schemas, and
# every flag in them against the programs.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/lib.sh
source "$here/../lib.sh"

need python
release_binaries --quiet
venv=$(target_folder)/manifests-venv
if [ ! -x "$venv/bin/python3" ] || ! cmp -s "$here/requirements.txt" "$venv/requirements.txt"; then
    python3 -m venv "$venv"
    quietly "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
    # Of this one only the schema is of use: the package itself needs an old Python.
    quietly "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --no-compile --target "$venv/schemas" \
        docker-compose==1.29.2
    cp "$here/requirements.txt" "$venv/requirements.txt"
fi
PROGRAMS=$bin PACKAGES=$(target_folder)/packages SCHEMAS=$venv/schemas "$venv/bin/python3" -B "$here/manifests_test.py"
