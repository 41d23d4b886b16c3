#!/usr/bin/env bash
# The tests of threads and networks three times beside eight busy processes: none waits on a clock.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
times=${TIMES:-3}
tests=(
  tests/psi/network tests/psi/sessions tests/psi/protocols/test_cuts.py
  tests/psi/test_ledger.py tests/psi/test_storage.py
  tests/dp/test_budget.py
  tests/secagg/test_certificates.py tests/secagg/test_crashes.py tests/secagg/test_party.py
  tests/secagg/test_party_crashes.py tests/secagg/test_party_folder.py
  tests/secagg/test_simulation.py tests/secagg/test_threads.py
)
busy=()
trap 'kill "${busy[@]}"' EXIT
for _ in {1..8}; do
  sh -c 'while :; do :; done' &
  busy+=($!)
done
for ((run = 1; run <= times; run++)); do
  echo "beside eight busy processes, run $run of $times"
  "$python" -m pytest -m "not slow" "$@" "${tests[@]}"
done
