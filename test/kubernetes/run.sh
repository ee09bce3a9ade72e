#!/usr/bin/env bash
# Installs the chart and the overlays of deploy/ in a real Kubernetes control plane, on this machine: opt-in, since building
# Kubernetes takes twenty minutes of a processor. It is built once, into .tools/; the test itself takes a minute or two.
set -euo pipefail
cd "$(dirname "$0")/../.."

step() { echo "kubernetes: $*"; }

# tool PACKAGE@VERSION DIR prints the path of a tool of exactly that version.
tool() {
  local name=${1%@*} dir
  name=${name##*/}
  dir=$PWD/.tools/$2/$name-${1##*@}
  if [ ! -x "$dir/$name" ]; then
    step "building $name ${1##*@}" >&2
    CGO_ENABLED=0 GOBIN=$dir go install -buildvcs=false -trimpath -ldflags='-s -w' "$1" >&2
  fi
  echo "$dir/$name"
}

# control_plane prints the folder of Kubernetes' programs, as controlplane/go.mod has them.
control_plane() {
  local version dir v=k8s.io/component-base/version
  version=$(go list -C test/kubernetes/controlplane -m -f '{{.Version}}' k8s.io/kubernetes)
  dir=$PWD/.tools/kubernetes/$version
  if [ ! -x "$dir/etcd" ]; then
    step "building Kubernetes $version" >&2
    CGO_ENABLED=0 go build -C test/kubernetes/controlplane -buildvcs=false -trimpath \
      -ldflags="-s -w -X $v.gitVersion=$version -X $v.gitMajor=1 -X $v.gitMinor=$(cut -d. -f2 <<<"$version")" -o "$dir/" tool >&2
    mv "$dir/server" "$dir/etcd" # last: it says that all is there
  fi
  echo "$dir"
}

# folder MODULE@VERSION prints where a module is.
folder() { go mod download -json "$1" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p'; }

# pinned FILE PATTERN prints the version of something as another file has it, so that it is said once.
pinned() { grep -oE "$2@v[0-9.]+" "$1" | head -1; }

KUBERNETES=$(control_plane)
kwok=sigs.k8s.io/kwok@v0.8.0
KWOK=$(tool "${kwok/@//cmd/kwok@}" kubernetes)
HELM=$(tool "$(pinned test/deploy/run.sh helm.sh/helm/v3/cmd/helm)" deploy)
KWOK_NODES=$(folder $kwok)/kustomize/stage/node
operator=$(folder "$(pinned test/deploy/genschemas/main.go github.com/prometheus-operator/prometheus-operator)")/example/prometheus-operator-crd
routes=$(folder "$(pinned test/deploy/genschemas/main.go sigs.k8s.io/gateway-api)")/config/crd/standard
DEFINITIONS="$operator/monitoring.coreos.com_servicemonitors.yaml $operator/monitoring.coreos.com_prometheusrules.yaml
  $routes/gateway.networking.k8s.io_httproutes.yaml $routes/gateway.networking.k8s.io_grpcroutes.yaml"
export KUBERNETES KWOK HELM KWOK_NODES DEFINITIONS

step "testing with Kubernetes $(basename "$KUBERNETES")"
go test -tags kubernetes -count=1 -timeout 15m -parallel 12 -v ./test/kubernetes "$@" | grep -vE '^ *=== '
step "PASS"
