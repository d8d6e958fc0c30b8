#!/usr/bin/env bash
# Writes an overlay for `go build -overlay` under which programs read a clock that
# is wrong by FLOVYN_CLOCK_SKEW_SECONDS. It needs no privileges and touches
# everything in a process, libraries too; only the torture test is built with it.
set -euo pipefail

dir=$1
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
source=$(go env GOROOT)/src/time/time.go

awk '
  /^func Now\(\) Time \{/ { inside = 1 }
  { print }
  inside && /runtimeNow\(\)/ { print "\tsec += clockSkew"; inside = 0; found = 1 }
  END { if (!found) exit 1 }
' "$source" >"$dir/time.go" || {
  echo "skewed-clock: time.Now of this Go is not as expected" >&2
  exit 1
}
cat >>"$dir/time.go" <<'GO'

// clockSkew is by how many seconds this process's clock is wrong.
var clockSkew = func() (skew int64) {
	text, _ := syscall.Getenv("FLOVYN_CLOCK_SKEW_SECONDS")
	negative := len(text) > 0 && text[0] == '-'
	if negative {
		text = text[1:]
	}
	for i := 0; i < len(text); i++ {
		if text[i] < '0' || text[i] > '9' {
			return 0
		}
		skew = skew*10 + int64(text[i]-'0')
	}
	if negative {
		return -skew
	}
	return skew
}()
GO
# The file has no imports beyond these; syscall is what package time itself uses.
if ! grep -q '"syscall"' "$dir/time.go"; then
  sed -i 's|^import (|import (\n\t"syscall"|' "$dir/time.go"
fi
printf '{"Replace": {"%s": "%s"}}\n' "$source" "$dir/time.go" >"$dir/overlay.json"
