#!/usr/bin/env bash
# The tests of pusher/pusher-http-php, cloned to PUSHER_PHP, against a running suite. They expect a
# cluster of Pusher and a page that is subscribed to a channel: they get an address, and a subscriber.
#
#   bash sdk.sh HTTP_PORT CLIENT_PORT FOLDER SUBSCRIBER
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
http=$1 clients=$2 folder=$3 subscribe=$4

mkdir -p "$folder"
cp -r "$PUSHER_PHP/tests" "$folder/"
find "$folder/tests" -name '*.php' -exec sed -i \
    -e "s/'cluster' => PUSHERAPP_CLUSTER/'host' => '127.0.0.1', 'port' => $http/" \
    -e "s/'api-' \. PUSHERAPP_CLUSTER \. '\.pusher\.com'/'127.0.0.1'/" {} +

node "$subscribe" "$clients" my-channel >"$folder/subscriber" &
subscriber=$!
trap 'kill "$subscriber"' EXIT
for ((tries = 0; tries < 100; tries++)); do
    if grep -q subscribed "$folder/subscriber"; then break; fi
    sleep 0.1
done
PUSHERAPP_AUTHKEY=app-key PUSHERAPP_SECRET=app-secret PUSHERAPP_APPID=1 PUSHERAPP_CLUSTER='' TEST_CHANNEL=my-channel \
    timeout 300 phpunit --do-not-cache-result --bootstrap "$here/sdk.php" "$folder/tests"
