#!/usr/bin/env bash
# Builds the image from the real Dockerfile and runs it the way Kubernetes does: read-only, no capabilities, not root.
#
# The base images cannot be pulled everywhere, so stand-ins are made under the very names in FROM: a Go toolchain with a
# static shell, and a root file system with nothing but certificates and a passwd file. All images and containers live in
# a folder of their own, which is deleted at the end.
#
#   test/image/run.sh            as CI does
#   ARCHS=amd64 test/image/run.sh
set -euo pipefail
cd "$(dirname "$0")/../.."

max_bytes=$((40 * 1000 * 1000))
archs=${ARCHS:-"amd64 arm64"}
host_arch=$(go env GOHOSTARCH)

fail() { echo "image: $*" >&2; exit 1; }
step() { echo "image: $*"; }

install_tools() {
  local missing=()
  for tool in buildah podman runc; do command -v $tool >/dev/null || missing+=($tool); done
  # The stand-in has no libraries: a busybox that is linked to some does not run there.
  if [ ! -x /usr/bin/busybox ] || ldd /usr/bin/busybox >/dev/null 2>&1; then missing+=(busybox-static); fi
  [ -r /etc/ssl/certs/ca-certificates.crt ] || missing+=(ca-certificates)
  [ ${#missing[@]} -eq 0 ] && return
  step "installing ${missing[*]}"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}
install_tools

work=$(mktemp -d)
store=(--root "$work/storage" --runroot "$work/run" --storage-driver overlay)
container=
cleanup() {
  if [ -n "$container" ]; then podman "${store[@]}" rm -f -t 1 "$container" >/dev/null 2>&1 || true; fi
  umount "$work/storage/overlay" 2>/dev/null || true # buildah binds it onto itself
  rm -rf "$work"
}
trap cleanup EXIT

# from LINE prints the image of the Dockerfile's LINE-th FROM.
from() { grep '^FROM' Dockerfile | sed -n "$1p" | sed -E 's/--platform=[^ ]+ //' | cut -d' ' -f2; }

# stand_in NAME ROOT CONFIG... makes an image of a root file system.
stand_in() {
  local name=$1 root=$2 c
  shift 2
  c=$(buildah "${store[@]}" from scratch)
  buildah "${store[@]}" add -q "$c" "$root" / >/dev/null
  buildah "${store[@]}" config "$@" "$c"
  buildah "${store[@]}" commit -q --rm "$c" "$name" >/dev/null
}

make_golang() {
  local root=$work/golang
  mkdir -p "$root"/{bin,tmp,root,go,usr/local,etc/ssl/certs}
  chmod 1777 "$root/tmp"
  cp "$(command -v busybox)" "$root/bin/busybox"
  for applet in sh mkdir cp rm ls cat; do ln -s busybox "$root/bin/$applet"; done
  cp -a "$(go env GOROOT)" "$root/usr/local/go"
  cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
  echo 'root:x:0:0::/root:/bin/sh' > "$root/etc/passwd"
  stand_in "$(from 1)" "$root" --env GOPATH=/go --env GOTOOLCHAIN=local \
    --env PATH=/go/bin:/usr/local/go/bin:/bin
  rm -rf "$root"
}

make_distroless() {
  local root=$work/distroless
  mkdir -p "$root"/{etc/ssl/certs,tmp,home/nonroot}
  chmod 1777 "$root/tmp"
  cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
  printf 'root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n' > "$root/etc/passwd"
  printf 'root:x:0:\nnonroot:x:65532:\n' > "$root/etc/group"
  stand_in "$(from 2)" "$root" --user 65532
}

# build ARCH builds the Dockerfile as it is. The module cache and a build cache of our own are lent to it: what was
# downloaded and compiled once is not again. Another architecture is asked for by TARGETARCH, as BuildKit would: buildah
# does not find local images of one architecture while it builds for another.
build() {
  local cache
  cache=$PWD/.tools/image-build
  mkdir -p "$cache"
  buildah "${store[@]}" build -q --isolation chroot --pull-never --network host --build-arg TARGETOS=linux --build-arg "TARGETARCH=$1" \
    --volume "$(go env GOMODCACHE):/go/pkg/mod" --volume "$cache:/root/.cache/go-build" \
    --env GOPROXY="$(go env GOPROXY)" --env GOSUMDB="$(go env GOSUMDB)" --env GOFLAGS="$(go env GOFLAGS)" \
    --build-arg "VERSION=$version" -t "localhost/telemetry-gateway:$1" . >"$work/build.log" 2>&1 ||
    { tail -20 "$work/build.log" | cut -c1-300; fail "the build for $1 failed"; }
}

# inspect ARCH looks into the image: size, user, architecture, and that there is one executable file.
inspect() {
  local image=localhost/telemetry-gateway:$1 bytes user mount c machine others
  bytes=$(podman "${store[@]}" image inspect --format '{{.Size}}' "$image")
  [ "$bytes" -lt $max_bytes ] || fail "$1: $bytes bytes, want less than $max_bytes"
  user=$(podman "${store[@]}" image inspect --format '{{.Config.User}}' "$image")
  [ "$user" = 65532:65532 ] || fail "$1: the user is '$user', want 65532:65532"
  c=$(buildah "${store[@]}" from --pull-never "$image")
  mount=$(buildah "${store[@]}" mount "$c")
  machine=$(od -An -tx1 -j18 -N1 "$mount/gateway" | tr -d ' ')
  case $1-$machine in amd64-3e | arm64-b7) ;; *) fail "$1: the binary's machine is 0x$machine" ;; esac
  others=$(find "$mount" -xdev -type f -perm /111 ! -path "$mount/gateway")
  [ -z "$others" ] || fail "$1: other executable files: $others"
  others=$(find "$mount" -xdev -perm /6000)
  [ -z "$others" ] || fail "$1: setuid files: $others"
  buildah "${store[@]}" rm "$c" >/dev/null
  step "$1: $((bytes / 1000 / 1000)) MB, user $user, one executable"
}

configure() {
  mkdir -p "$work/config/secrets"
  echo "a-client-token-for-this-test" > "$work/config/secrets/client"
  echo "an-upstream-token-for-this-test" > "$work/config/secrets/cloud"
  cat > "$work/config/gateway.yaml" <<YAML
server:
  http_listen: ["127.0.0.1:0"]
  grpc_listen: ["127.0.0.1:0"]
  admin_listen: "127.0.0.1:0"
  drain_delay: 0s
environments:
  prod:
    clients: {app: {bearer_token_file: secrets/client}}
    upstreams:
      prometheus: {url: "http://127.0.0.1:9/api/prom/push", basic_auth: {username: "1", password_file: secrets/cloud}}
YAML
  chmod -R a+rX "$work/config"
  chmod a+x "$work"
}

hardened=(--runtime runc run --network host --ulimit nofile=4096:4096 --ulimit nproc=4096:4096
  --read-only --read-only-tmpfs=false --cap-drop ALL --security-opt no-new-privileges --log-driver k8s-file)

# wants NAME FIELD VALUE checks a line of the process's status.
wants() {
  local got
  got=$(awk -v f="$1:" '$1 == f {print $2}' "/proc/$pid/status")
  [ "$got" = "$2" ] || fail "$1 of the process is '$got', want $2"
}

run_it() {
  local image=localhost/telemetry-gateway:$host_arch said address path code
  said=$(podman "${store[@]}" "${hardened[@]}" --rm "$image" version)
  [[ $said == "gateway $version "* ]] || fail "version prints '$said', want gateway $version"
  podman "${store[@]}" "${hardened[@]}" --rm -v "$work/config:/etc/gateway/config:ro" "$image" \
    check /etc/gateway/config/gateway.yaml >"$work/check.log" || { cat "$work/check.log"; fail "check fails inside the image"; }
  if podman "${store[@]}" "${hardened[@]}" --rm --entrypoint /bin/sh "$image" -c true 2>/dev/null; then
    fail "there is a shell"
  fi
  container=$(podman "${store[@]}" "${hardened[@]}" -d -v "$work/config:/etc/gateway/config:ro" "$image")
  address=
  for _ in $(seq 100); do
    address=$(podman "${store[@]}" logs "$container" 2>&1 | sed -n 's/.*"msg":"gateway started".*"http":\["\([^"]*\)".*/\1/p')
    [ -n "$address" ] && break
    sleep 0.1
  done
  [ -n "$address" ] || { podman "${store[@]}" logs "$container" 2>&1 | tail -5; fail "the gateway does not start"; }
  for path in /-/healthy /-/ready; do
    code=$(curl -s -o /dev/null -w '%{http_code}' "http://$address$path")
    [ "$code" = 200 ] || fail "$path answers $code, want 200"
  done
  code=$(curl -s -o /dev/null -w '%{http_code}' -X POST "http://$address/api/v1/push")
  [ "$code" = 401 ] || fail "a push without credentials is answered $code, want 401"

  pid=$(podman "${store[@]}" inspect --format '{{.State.Pid}}' "$container")
  wants Uid 65532
  wants Gid 65532
  wants CapEff 0000000000000000
  wants CapPrm 0000000000000000
  wants CapBnd 0000000000000000
  wants NoNewPrivs 1
  wants Seccomp 2
  awk '$5 == "/" && $6 ~ /(^|,)ro(,|$)/ {ro = 1} END {exit !ro}' "/proc/$pid/mountinfo" || fail "the root file system is writable"

  podman "${store[@]}" stop -t 20 "$container" >/dev/null
  code=$(podman "${store[@]}" inspect --format '{{.State.ExitCode}}' "$container")
  [ "$code" = 0 ] || fail "it leaves with $code after SIGTERM, want 0"
  podman "${store[@]}" rm "$container" >/dev/null
  container=
  step "healthy, ready, user 65532, no capabilities, read-only, no shell, leaves with 0"
}

version=$(git describe --tags --always --dirty 2>/dev/null || echo test)
step "making stand-ins for $(from 1) and $(from 2)"
make_golang
configure
make_distroless
for arch in $archs; do
  build "$arch"
  inspect "$arch"
done
[[ " $archs " == *" $host_arch "* ]] && run_it
echo "image: PASS"
