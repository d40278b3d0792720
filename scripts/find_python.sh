#!/usr/bin/env bash
# Prints the path of a Python 3.12 or newer that really runs; says what to do if there is none.
# First the versions that have wheels of all that requirements.txt pins, newest first; then any other.
set -euo pipefail

versions="${PYENV_ROOT:-${HOME:-/nonexistent}/.pyenv}/versions"

candidates() {
    local minor
    for minor in 14 13 12; do
        command -v "python3.$minor" || true
        newest_first "$versions/3.$minor".[0-9]*
    done
    command -v python3 || true
    command -v python || true
    command -v python3.15 || true
    newest_first "$versions"/3.*
}

newest_first() {
    printf '%s/bin/python3\n' "$@" | sort -rV
}

# A pyenv shim may exist for a version that is not chosen here, and Debian parts venv from Python: only what runs counts.
fits() {
    "$1" -c 'import sys, venv, ensurepip; raise SystemExit(sys.version_info < (3, 12))' >/dev/null 2>&1
}

while read -r found; do
    if fits "$found"; then
        exec "$found" -c 'import sys; print(sys.executable)'
    fi
done < <(candidates)

cat >&2 <<'TXT'
Rillbook needs Python 3.12 or newer, with the venv module, and found none.
  Debian, Ubuntu:  apt-get install python3 python3-venv   (or pyenv install 3.13)
  macOS:           brew install python@3.13
TXT
exit 1
