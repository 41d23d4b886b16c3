#!/usr/bin/env bash
# The base install and those tests that it can run, on the other Pythons that are named as ours.
set -euo pipefail
cd "$(dirname "$0")/.."
# What speaks of the tree and its gates is held once, in the environment of development.
tree=(--ignore=tests/docs --ignore=tests/test_examples.py --ignore=tests/test_gates.py
  --ignore=tests/test_release.py)
for version in ${VERSIONS:-3.12 3.13}; do
  python=python$version
  if ! "$python" -c "" 2>/dev/null; then
    python=$(pyenv prefix "$version" 2>/dev/null || true)/bin/python
  fi
  if ! "$python" -c "" 2>/dev/null; then
    echo "skipped: no Python $version here"
    continue
  fi
  environment=build/python-$version
  rm -rf "$environment"
  "$python" -m venv "$environment"
  "$environment/bin/pip" install --quiet --constraint constraints.txt . pytest hypothesis pytest-xdist
  "$environment/bin/python" -m pytest "$@" "${tree[@]}" tests
done
