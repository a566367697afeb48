#!/usr/bin/env bash
# Installs the suite on this host: binaries, systemd units, settings, a secret. Running it again
# replaces binaries and units, and leaves settings and the secret alone.
#
#   sudo bash deploy/install.sh
#
# DESTDIR=DIR installs below DIR instead, for packaging. PUSH_SUITE_BIN=DIR takes the binaries from
# DIR; otherwise they are built (as the user who runs this, so build first and name the folder if
# root has no Rust).
set -euo pipefail
# shellcheck source=deploy/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

destination=${DESTDIR:-}
programs=$destination/usr/local/lib/push-suite/bin
units=$destination/usr/local/lib/systemd/system
documents=$destination/usr/local/share/doc/push-suite
settings=$destination/etc/push-suite

install_programs() {
    install -d -m 0755 "$programs"
    # install(1) removes the old file first, so a running process keeps the one it started from.
    install -m 0755 "$bin/register" "$bin/gateway" "$bin/business-worker" "$programs"
}

install_units() {
    install -d -m 0755 "$units" "$documents"
    install -m 0644 "$root"/deploy/systemd/*.service "$units"
    install -m 0644 "$root/docs/running.md" "$root/LICENSE" "$root/THIRD-PARTY.txt" "$documents"
}

install_settings() {
    local file name
    install -d -m 0755 "$settings"
    for file in "$root"/deploy/settings/*.toml; do
        name=$(basename "$file")
        if [ -e "$settings/$name" ]; then
            say "kept      $settings/$name"
        else
            install -m 0644 "$file" "$settings/$name"
            say "installed $settings/$name"
        fi
    done
}

install_secret() {
    local file=$settings/secret.env
    if [ -e "$file" ]; then
        say "kept      $file"
        return
    fi
    (umask 0077 && printf 'GW_SECRET_KEY=%s\n' "$(random_hex)" >"$file")
    say "made      $file, readable by its owner alone"
}

random_hex() { od -An -vtx1 -N32 /dev/urandom | tr -d ' \n'; }

next_steps() {
    say ""
    say "Programs are in $programs, units in $units."
    if [ -n "$destination" ]; then return; fi
    if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
    say "Look at the settings, then start what this host is to run, for instance:"
    say "    systemctl enable --now register gateway@1 business-worker@1"
    say "A second host of the same cluster needs the same secret.env. docs/running.md has the rest."
}

release_binaries
install_programs
install_units
install_settings
install_secret
next_steps
