#!/usr/bin/env bash
# The documentation as a site: every link, the code of the translations, the commands of the quick
# start.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/lib.sh
source "$here/../lib.sh"

version=0.4.52
need python linker
tools=$(target_folder)/tools
if ! grep -qx "mdbook v$version" < <("$tools/bin/mdbook" --version 2>/dev/null); then
    # Without a server and without watching files, which need a hundred crates more.
    quietly cargo install --quiet --locked --force --no-default-features --features search --root "$tools" \
        --version "$version" mdbook
fi
MDBOOK=$tools/bin/mdbook python3 -B "$here/../../deploy/site/build.py" "$(target_folder)/site"
python3 -B "$here/site_test.py"
bash "$here/quick_start.sh"
