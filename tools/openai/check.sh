#!/usr/bin/env bash
# Runs the official `openai` client, and the snippets of docs/serving.md, against `run serve`.
set -euo pipefail
cd "$(dirname "$0")/../.."

requirements=tools/openai/requirements.txt
venv=cache/venv-openai
stamp=$venv/kcache-requirements.txt

if ! cmp --silent "$requirements" "$stamp"; then
    python3 -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$requirements" >&2
    cp "$requirements" "$stamp"
fi

cargo build --locked --bin run
exec "$venv/bin/python" tools/openai/check.py
