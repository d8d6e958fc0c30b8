#!/usr/bin/env bash
# Checks, on a dirty tree too, that the generated code is what the sources
# generate, and that the protos keep their style and their promises.
# Called by `make verify`, which puts the tools on the PATH.
set -euo pipefail
cd "$(dirname "$0")/.."

fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT

echo 'verify: code generated from proto/'
buf generate --output "$fresh"
for made in gen internal/openapi/comments; do
  if ! diff -r "$fresh/$made" "$made"; then
    echo "$made is not what proto/ generates: run \`make generate\`" >&2
    exit 1
  fi
done

echo 'verify: code generated from sql/'
sqlc vet
if ! sqlc diff; then
  echo 'internal/postgres/internal/pgq is not what sql/ generates: run `make generate`' >&2
  exit 1
fi

if command -v npm >/dev/null; then
  echo 'verify: the client for browsers'
  tools/web.sh --check
fi

echo 'verify: proto style'
buf format --diff --exit-code proto
buf lint proto

echo 'verify: protos are compatible with the published ones'
buf breaking proto --against proto/published.binpb
echo 'verify: ok'
