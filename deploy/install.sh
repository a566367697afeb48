#!/usr/bin/env bash
# Installs the suite on this host: binaries, systemd units, settings, a secret. Running it again
# replaces binaries and units, and keeps settings and the secret.
#
#   sudo bash deploy/install.sh
#
# DESTDIR=DIR installs below DIR instead, for packaging. PUSH_SUITE_BIN=DIR takes the binaries from
# DIR; otherwise they are built as the current user. If root has no Rust, build first and set
# PUSH_SUITE_BIN.
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
    # install(1) unlinks the old file first, so a running process keeps its own.
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
    say "created   $file, readable only by its owner"
}

random_hex() { od -An -vtx1 -N32 /dev/urandom | tr -d ' \n'; }

next_steps() {
    say ""
    say "Programs are in $programs, units in $units."
    if [ -n "$destination" ]; then return; fi
    if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
    say "Check the settings, then start the services of this host, for example:"
    say "    systemctl enable --now register gateway@1 business-worker@1"
    say "Every host of a cluster needs the same secret.env. See docs/running.md for details."
}

release_binaries
install_programs
install_units
install_settings
install_secret
next_steps
