# Shared by the tests of clients: installs their packages into the target folder if they are missing.
# Sets $installed to that folder, in which the files of `clients` are beside the packages.
# shellcheck shell=bash
# shellcheck disable=SC2154 # root: of deploy/lib.sh

install_clients() {
    local clients=$root/tests/pusher/clients
    # shellcheck disable=SC2034 # for scripts that source this
    installed=$(target_folder)/pusher-clients
    mkdir -p "$installed"
    if ! cmp -s "$clients/package-lock.json" "$installed/package-lock.json"; then
        cp "$clients/package.json" "$clients/package-lock.json" "$installed/"
        quietly npm ci --no-audit --no-fund --prefix "$installed"
    fi
    # Modules are found beside the packages that they import.
    cp "$clients"/*.mjs "$installed/"
}
