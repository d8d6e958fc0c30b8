#!/usr/bin/env bash
# Checks deploy/ with the programs that read it, as far as they are here: the
# steps of the Dockerfile, by hand, in a chroot; the chart and the manifests,
# strictly, against the types of Kubernetes; the units; the proxies' files. Says
# what was not checked and why.
set -euo pipefail
cd "$(dirname "$0")/.."
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
skipped=()

skip() {
  skipped+=("$1")
}

echo '== Dockerfile: its steps'
image=$tmp/image
mkdir -p "$image/app" "$image/etc/ssl/certs" "$image/tmp"
for arch in amd64 arm64; do
  CGO_ENABLED=0 GOOS=linux GOARCH=$arch go build -trimpath -ldflags '-s -w -X main.version=check' -o "$image/app/flovyn-server.$arch" ./cmd/flovyn-server
done
mv "$image/app/flovyn-server.$(go env GOARCH)" "$image/app/flovyn-server"
[[ -e /etc/ssl/certs/ca-certificates.crt ]] && cp /etc/ssl/certs/ca-certificates.crt "$image/etc/ssl/certs/"
if [[ $EUID -eq 0 ]] && command -v chroot >/dev/null; then
  got=$(chroot --userspec=65532:65532 "$image" /app/flovyn-server version)
  [[ $got == 'flovyn-server check' ]] || { echo "the image says $got"; exit 1; }
  if chroot --userspec=65532:65532 "$image" /app/flovyn-server health --url http://127.0.0.1:1; then
    echo 'a server that is not there is called healthy'
    exit 1
  fi
  du -h "$image/app/flovyn-server"
else
  skip 'running the image (needs root)'
fi
skip 'docker build: its steps were done by hand'

echo '== Kubernetes and Helm'
(cd tools/manifests && go build -o "$tmp/manifests" .)
"$tmp/manifests" deploy

echo '== systemd'
if command -v systemd-analyze >/dev/null; then
  sed "s|/usr/local/bin/flovyn-server|$image/app/flovyn-server|" deploy/systemd/flovyn-server.service > "$tmp/flovyn-server.service"
  systemd-analyze verify "$tmp/flovyn-server.service"
  systemd-analyze security --offline=true --threshold=25 "$tmp/flovyn-server.service" | tail -1
  mkdir -p "$tmp/root/etc"
  systemd-sysusers --root="$tmp/root" "$PWD/deploy/systemd/flovyn-server.sysusers.conf"
  grep -q '^flovyn:' "$tmp/root/etc/passwd"
  systemd-tmpfiles --root="$tmp/root" --create "$PWD/deploy/systemd/flovyn-server.tmpfiles.conf"
  [[ -d $tmp/root/etc/flovyn ]]
else
  skip 'systemd units (no systemd-analyze)'
fi

echo '== proxies'
# Names that resolve here, a certificate that is there, files that may be written.
local_copy() {
  sed -e 's/flovyn-[123]\.internal/127.0.0.1/g' -e "s|/etc/[a-z]*/tls|$tmp|g" -e "s|/var/log/nginx|$tmp|g" "$1" > "$2"
}
openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=api.example.com -keyout "$tmp/privkey.pem" -out "$tmp/fullchain.pem" 2>/dev/null
for program in nginx caddy envoy; do
  if ! command -v "$program" >/dev/null; then
    skip "deploy/proxy for $program (not installed)"
    continue
  fi
  case $program in
    nginx) local_copy deploy/proxy/nginx.conf "$tmp/nginx.conf" && nginx -t -q -e stderr -g "pid $tmp/nginx.pid;" -c "$tmp/nginx.conf" ;;
    caddy) caddy validate --adapter caddyfile --config deploy/proxy/Caddyfile ;;
    envoy) local_copy deploy/proxy/envoy.yaml "$tmp/envoy.yaml" && envoy --mode validate -c "$tmp/envoy.yaml" ;;
  esac
  echo "ok $program"
done

for what in "${skipped[@]}"; do
  echo "not checked: $what"
done
echo 'deploy/ is in order'
