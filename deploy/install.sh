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
    local name
    install -d -m 0755 "$programs" "$programs/.debug"
    for name in register gateway business-worker gwctl; do install_program "$name"; done
    install_command
}

# gwctl in the path of operators, with its completions and manual pages.
install_command() {
    local completions=$destination/usr/local/share/bash-completion/completions
    local pages=$destination/usr/local/share/man/man1
    install -d -m 0755 "$destination/usr/local/bin" "$completions" "$pages"
    ln -sf ../lib/push-suite/bin/gwctl "$destination/usr/local/bin/gwctl"
    "$programs/gwctl" completions bash >"$completions/gwctl"
    "$programs/gwctl" man "$pages"
}

# Installs a program without debug symbols, and the symbols beside it, in the place where a debugger
# and the backtrace of a panic look for them.
install_program() { # NAME
    local program=$bin/$1 symbols=$bin/.debug/$1.debug
    if has_symbols "$program"; then
        symbols=$temporary/$1.debug
        objcopy --only-keep-debug "$program" "$symbols"
        objcopy --strip-all --add-gnu-debuglink="$symbols" "$program" "$temporary/$1"
        program=$temporary/$1
    fi
    # install(1) unlinks the old file first, so a running process keeps its own.
    install -m 0755 "$program" "$programs/$1"
    if [ -e "$symbols" ]; then
        install -m 0644 "$symbols" "$programs/.debug/$1.debug"
    else
        rm -f "$programs/.debug/$1.debug"
    fi
}

# A host without binutils has not compiled the programs either; it installs them as they are.
has_symbols() { # PROGRAM
    command -v objcopy >/dev/null || return 1
    grep -q '\.debug_info' < <(objdump --section-headers "$1")
}

install_units() {
    install -d -m 0755 "$units" "$documents"
    install -m 0644 "$root"/deploy/systemd/*.service "$units"
    install -m 0644 "$root"/docs/{running,gwctl,own-worker,close-codes,guarantees,security}.md "$root/LICENSE" \
        "$root/THIRD-PARTY.txt" "$documents"
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
    say "Then look at the cluster with:"
    say "    gwctl status"
    say "Every host of a cluster needs the same secret.env. See docs/running.md for details."
}

# pushsuite_build_info states it.
PUSH_SUITE_COMMIT=${PUSH_SUITE_COMMIT:-$(git -C "$root" rev-parse --short=12 HEAD 2>/dev/null || true)}
if [ -n "$PUSH_SUITE_COMMIT" ]; then export PUSH_SUITE_COMMIT; fi
release_binaries
temporary=$(mktemp -d "${TMPDIR:-/tmp}/push-suite-install.XXXXXX")
trap 'rm -rf "$temporary"' EXIT
install_programs
install_units
install_settings
install_secret
next_steps
