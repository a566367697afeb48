#!/usr/bin/env bash
# Installs the suite below a temporary folder and checks its units with systemd: for errors, and for
# their exposure.
set -euo pipefail
# shellcheck source=tests/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

# Maximum exposure, in tenths: systemd rates anything below 2 as safe.
threshold=15
units=(register.service gateway@1.service business-worker@1.service)

install_twice() {
    DESTDIR=$there PUSH_SUITE_BIN=$bin bash "$root/deploy/install.sh" >/dev/null
    echo "# edited" >>"$there/etc/push-suite/register.toml"
    cp -p "$there/etc/push-suite/secret.env" "$log_folder/secret.first"
    DESTDIR=$there PUSH_SUITE_BIN=$bin bash "$root/deploy/install.sh" >/dev/null
    cmp "$there/etc/push-suite/secret.env" "$log_folder/secret.first" ||
        fail "installing again changed the secret"
    grep -q edited < <(tail -n 1 "$there/etc/push-suite/register.toml") ||
        fail "installing again overwrote settings"
    [ "$(stat -c %a "$there/etc/push-suite/secret.env")" = 600 ] ||
        fail "secret.env is readable by others"
    grep -qE '^GW_SECRET_KEY=[0-9a-f]{64}$' "$there/etc/push-suite/secret.env" ||
        fail "secret.env does not hold a secret"
    [ -s "$there/usr/local/share/doc/push-suite/THIRD-PARTY.txt" ] ||
        fail "the third-party licenses are not installed"
    grep -q 'send queue full' < <("$there/usr/local/bin/gwctl" explain 1013) ||
        fail "gwctl is not installed"
    [ -s "$there/usr/local/share/man/man1/gwctl-kick.1" ] || fail "gwctl has no manual pages"
    say "install.sh: twice, with settings and secret kept"
}

# The installed programs have no debug symbols, and a debugger finds them beside the programs.
symbols_are_apart() {
    local name folder=$there/usr/local/lib/push-suite/bin address place
    for name in register gateway business-worker; do
        if grep -qE ' \.(debug_info|debug_line|symtab) ' < <(readelf --wide --section-headers "$folder/$name"); then
            fail "$name is installed with its symbols"
        fi
        address=$(nm --demangle "$folder/.debug/$name.debug" |
            awk -v main="${name//-/_}::main" '$3 == main && !found++ { print $1 }')
        [ -n "$address" ] || fail "the symbols of $name do not contain its main function"
        place=$(addr2line --inlines --exe="$folder/$name" "$address")
        [[ $place == *"crates/$name/src/main.rs:"* ]] ||
            fail "the symbols of $name are not found: its main function is at $place"
    done
    say "programs without symbols, which are found beside them"
}

# Runs the ExecStartPre check with the installed settings and secret.
settings_are_good() {
    local name file
    for name in register gateway-1 business-worker-1; do
        file=$there/etc/push-suite/$name.toml
        (
            set -a
            # shellcheck disable=SC1091 # made above
            source "$there/etc/push-suite/secret.env"
            "$there/usr/local/lib/push-suite/bin/${name%-1}" --config "$file" --check
        ) >"$log_folder/$name.check" 2>&1 || {
            cat "$log_folder/$name.check"
            fail "--check refuses the installed $name.toml"
        }
        if grep -qf <(cut -d= -f2 "$there/etc/push-suite/secret.env") "$log_folder/$name.check"; then
            fail "--check of $name prints the secret"
        fi
    done
    say "--check: the installed settings are valid, and the secret is not printed"
}

# systemd resolves everything below the folder, so it needs the units of this host, too.
bring_host_units() {
    # And the one program of this host that they execute.
    install -D /bin/sh "$there/bin/sh"
    local folder
    for folder in /usr/lib/systemd/system /lib/systemd/system; do
        if [ -d "$folder" ]; then
            mkdir -p "$there/usr/lib/systemd"
            cp -a "$folder" "$there/usr/lib/systemd/"
            break
        fi
    done
}

units_are_correct() {
    local output
    output=$(SYSTEMD_LOG_LEVEL=info systemd-analyze verify --man=no --recursive-errors=no \
        --root="$there" "${units[@]}" 2>&1) || {
        say "$output"
        fail "systemd-analyze verify fails"
    }
    # It only warns of unknown keys, and succeeds.
    if grep -E '(register|gateway@|business-worker@)[^ ]*\.service' <<<"$output"; then
        fail "systemd-analyze verify warns about the units"
    fi
    say "systemd-analyze verify: ${#units[@]} units, no warning"
}

units_expose_little() {
    local unit output
    for unit in "${units[@]}"; do
        output=$(systemd-analyze security --no-pager --offline=true --root="$there" \
            --threshold="$threshold" "$unit" 2>&1) || {
            say "$output"
            fail "$unit exposes more than $threshold tenths"
        }
        say "$(tail -n 1 <<<"$output" | sed 's/^[^A-Za-z]*//')"
    done
}

# Adds the drop-in of docs/own-worker.md, for a program that stands for a worker of one's own.
drop_in_is_correct() {
    local folder=$there/usr/local/lib/systemd/system/business-worker@.service.d
    install -D -m 0755 "$bin/business-worker" "$there/opt/shop/bin/shop-worker"
    mkdir -p "$folder"
    # shellcheck disable=SC2016 # the backticks are those of the document
    sed -n '/^```ini$/,/^```$/{/^```/d;p}' "$root/docs/own-worker.md" >"$folder/override.conf"
    grep -q '^ExecStart=/opt/shop/bin/shop-worker ' "$folder/override.conf" ||
        fail "docs/own-worker.md has no drop-in"
    units_are_correct
    units_expose_little
    say "business-worker@: also with the drop-in for a worker of one's own"
}

need systemd
release_binaries --quiet
begin systemd
there=$log_folder/root
install_twice
symbols_are_apart
settings_are_good
bring_host_units
units_are_correct
units_expose_little
drop_in_is_correct
