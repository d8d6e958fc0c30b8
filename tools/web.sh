#!/usr/bin/env bash
# Makes web/, the client for browsers: what buf generates from proto/, and one
# module of it in web/dist. With --check it compares instead, and leaves the tree
# alone. Called by `make web` and, where there is npm, by `make verify`.
set -euo pipefail
cd "$(dirname "$0")/.."

npm ci --prefix web --silent --ignore-scripts --no-audit --no-fund
if [[ ${1:-} != --check ]]; then
  buf generate --template web/buf.gen.yaml
  npm run --prefix web --silent build -- --log-level=warning
  exit
fi

fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
buf generate --template web/buf.gen.yaml --output "$fresh"
npm run --prefix web --silent build -- --log-level=warning --outfile="$fresh/flovyn.js"
if ! diff -r "$fresh/web/src/gen" web/src/gen || ! cmp "$fresh/flovyn.js" web/dist/flovyn.js; then
  echo 'web/ is not what proto/ generates: run `make web`' >&2
  exit 1
fi
