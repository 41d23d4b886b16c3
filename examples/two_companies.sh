#!/bin/sh
# Two companies train one model with noise shares, here as two folders of one machine.
#
# Run: sh examples/two_companies.sh
#
# docs/partner.md has the same for two machines, step by step, and says who sees what.
set -eu
python=${PYTHON:-python}
privfed="$python -m privfed"
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"

# Each company has its own rows; here they are made up.
"$python" - <<'END'
from privfed.data import surrogate_tables

dresses, _ = surrogate_tables()
dresses[:250].to_csv("maker.csv", index=False)
dresses[250:450].to_csv("shop.csv", index=False)
dresses[450:].drop(columns="Recommendation").to_csv("new.csv", index=False)
END
before=$(cat maker.csv shop.csv | sha256sum)

echo "1. Each makes its keys, and gives tls.crt to the other."
$privfed keys identity maker --unlocked >maker.txt
$privfed keys identity shop --unlocked >shop.txt

echo "2. One writes the plan; both compare its fingerprint."
port=$("$python" -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
$privfed train init --plan plan.toml --party maker=maker/tls.crt --party shop=shop/tls.crt \
    --address "localhost:$port" --rows 250,200 --rounds 20 --epsilon 8 >plan.txt
$privfed train show --plan plan.toml | head -n 4

echo "3. Each trains, by one command."
$privfed train serve maker.csv --plan plan.toml --identity maker --out made >made.txt 2>&1 &
serves=$!
$privfed train join shop.csv --plan plan.toml --identity shop --out sold >sold.txt 2>&1
wait "$serves"

echo "4. Both have one model, and their rows are as they were."
cmp made/model.npz sold/model.npz
test "$before" = "$(cat maker.csv shop.csv | sha256sum)"
ls made
$privfed predict new.csv --model made/model.npz 2>/dev/null | head -n 4
