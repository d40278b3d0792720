#!/usr/bin/env bash
# Prints the path of a Python 3.12 or newer that really runs, newest first; says what to do if there is none.
set -euo pipefail

fits() {
    "$1" -c 'import sys, venv, ensurepip; raise SystemExit(sys.version_info < (3, 12))' >/dev/null 2>&1
}

for name in python3.15 python3.14 python3.13 python3.12 python3 python; do
    found=$(command -v "$name" || true)
    # A pyenv shim may exist for a version that is not chosen here: only what runs counts.
    if [ -n "$found" ] && fits "$found"; then
        "$found" -c 'import sys; print(sys.executable)'
        exit 0
    fi
done

for folder in $(ls -d "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.* 2>/dev/null | sort -rV); do
    if fits "$folder/bin/python3"; then
        echo "$folder/bin/python3"
        exit 0
    fi
done

cat >&2 <<'TXT'
Rillbook needs Python 3.12 or newer, with the venv module, and found none.
  Debian, Ubuntu:  apt-get install python3 python3-venv   (or pyenv install 3.13)
  macOS:           brew install python@3.13
TXT
exit 1
