#!/usr/bin/env bash
# Real programs that speak Pusher's protocol, each in a folder of its own with a `run.sh`.
#
#   bash tests/pusher/run.sh            all
#   bash tests/pusher/run.sh servers    one folder
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
failed=0
for script in "$here"/*/run.sh; do
    folder=$(basename "$(dirname "$script")")
    if [ $# != 0 ] && [ "$1" != "$folder" ]; then continue; fi
    echo "=== $folder"
    bash "$script" || { echo "$folder: FAILED" && failed=1; }
done
exit "$failed"
