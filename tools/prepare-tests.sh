#!/usr/bin/env bash
# Makes sure that the tests find the programs they need: PostgreSQL 15 or newer,
# which they start for themselves, nginx, which some stand behind, a browser, and a C
# compiler for the race detector.
# Installs what is missing where that needs no question (root on a Debian-like
# machine), and otherwise says what to do and goes on: the tests can fetch a
# PostgreSQL of their own, and run without the race detector.
set -euo pipefail

oldest=15

# major prints the major version of a postgres binary, or 0.
major() {
  local version
  version=$("$1" --version 2>/dev/null) || { echo 0; return; }
  [[ $version =~ ([0-9]+) ]] && echo "${BASH_REMATCH[1]}" || echo 0
}

have_postgres() {
  local postgres
  for postgres in "$(command -v postgres || true)" \
    /usr/lib/postgresql/*/bin/postgres \
    /usr/pgsql-*/bin/postgres \
    /opt/homebrew/opt/postgresql*/bin/postgres \
    /usr/local/opt/postgresql*/bin/postgres \
    /Applications/Postgres.app/Contents/Versions/*/bin/postgres; do
    if [[ -x $postgres && -x $(dirname "$postgres")/initdb && $(major "$postgres") -ge $oldest ]]; then
      return 0
    fi
  done
  return 1
}

have_compiler() {
  command -v cc >/dev/null || command -v gcc >/dev/null || command -v clang >/dev/null
}

have_nginx() {
  command -v nginx >/dev/null || [[ -x /usr/sbin/nginx ]]
}

have_browser() {
  command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null ||
    command -v google-chrome-stable >/dev/null || command -v chrome >/dev/null ||
    [[ -d '/Applications/Google Chrome.app' || -d /Applications/Chromium.app ]]
}

can_install() {
  [[ $EUID -eq 0 ]] && command -v apt-get >/dev/null
}

# find_missing sets missing to the Debian packages whose programs are not there.
find_missing() {
  missing=()
  if [[ -z ${TEST_DATABASE_URL:-} ]] && ! have_postgres; then
    missing+=(postgresql)
  fi
  if ! have_compiler; then
    missing+=(gcc libc6-dev)
  fi
  if ! have_nginx; then
    missing+=(nginx-light)
  fi
  if ! have_browser; then
    missing+=(chromium)
  fi
}

find_missing
if [[ ${#missing[@]} -gt 0 ]] && can_install; then
  echo "tests: installing ${missing[*]} with apt-get" >&2
  export DEBIAN_FRONTEND=noninteractive
  if ! { apt-get update && apt-get install -y --no-install-recommends "${missing[@]}"; } >&2; then
    echo 'tests: apt-get failed' >&2
  fi
  find_missing # a distribution's PostgreSQL may be too old
fi
if [[ " ${missing[*]-} " == *' postgresql '* ]]; then
  echo "tests: no PostgreSQL $oldest or newer found; the tests will try to download one." >&2
  echo '       Install it (apt-get install postgresql, brew install postgresql),' >&2
  echo '       or set TEST_DATABASE_URL to a database whose user may create databases.' >&2
fi
if [[ " ${missing[*]-} " == *' gcc '* ]]; then
  echo 'tests: no C compiler found; the tests run without the race detector.' >&2
fi
if [[ " ${missing[*]-} " == *' nginx-light '* ]]; then
  echo 'tests: no nginx found; the tests of internal/deploy that need one will fail.' >&2
  echo '       Install it (apt-get install nginx-light, brew install nginx).' >&2
fi
if [[ " ${missing[*]-} " == *' chromium '* ]]; then
  echo 'tests: no Chromium or Chrome found; the tests of internal/browser will fail.' >&2
fi
