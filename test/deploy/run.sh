#!/usr/bin/env bash
# Checks everything under deploy/ that needs tools: the chart and the kustomize overlays are valid Kubernetes, agree with
# each other, and hold configurations that the gateway takes; and real senders, with the files of deploy/clients, reach a
# gateway. Needs no cluster. Tools are built once, into .tools/.
set -euo pipefail
cd "$(dirname "$0")/../.."

chart=deploy/helm/telemetry-gateway
kube=1.33.0 # what templates are rendered for; schemas are of a newer version

fail() { echo "deploy: $*" >&2; exit 1; }
step() { echo "deploy: $*"; }

# tool PACKAGE@VERSION prints the path of a tool of exactly that version.
tool() {
  local name=${1%@*} dir
  name=${name%/v[0-9]*}
  name=${name##*/}
  dir=$PWD/.tools/deploy/$name-${1##*@}
  if [ ! -x "$dir/$name" ]; then
    step "building $name ${1##*@}" >&2
    GOFLAGS=-buildvcs=false CGO_ENABLED=0 GOBIN=$dir go install -trimpath -ldflags='-s -w' "$1" >&2
  fi
  echo "$dir/$name"
}
helm=$(tool helm.sh/helm/v3/cmd/helm@v3.22.0)
kubeconform=$(tool github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0)
kubescore=$(tool github.com/zegl/kube-score/cmd/kube-score@v1.20.0)
kustomize=$(tool sigs.k8s.io/kustomize/kustomize/v5@v5.8.1)
VMAGENT=$(tool github.com/VictoriaMetrics/VictoriaMetrics/app/vmagent@v1.133.0)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
go build -o "$work/manifests" ./test/deploy/manifests
# Helm writes caches.
export HELM_CACHE_HOME=$work/helm HELM_CONFIG_HOME=$work/helm HELM_DATA_HOME=$work/helm

# template VALUES... prints what helm would install.
template() {
  local args=() v
  for v in "$@"; do args+=(--values "$v"); done
  "$helm" template telemetry-gateway "${TEMPLATE_CHART:-$chart}" --kube-version $kube --namespace telemetry "${args[@]}"
}

# valid FILE holds manifests against schemas and good practice.
valid() {
  "$kubeconform" -strict -summary -schema-location 'test/deploy/schemas/{{.ResourceKind}}{{.KindSuffix}}.json' "$1" ||
    fail "$1 has objects that the schemas refuse"
  # CPU limits throttle; an image with a fixed tag or digest need not be pulled again.
  "$kubescore" score --kubernetes-version v${kube%.*} --ignore-container-cpu-limit \
    --ignore-test container-image-pull-policy --output-format ci "$1" >"$work/score" || true
  if grep -E '^\[CRITICAL\]|^\[WARNING\]' "$work/score" | grep -v 'Deployment few replicas'; then
    fail "$1 is not what kube-score calls good"
  fi
}

# rendered fails unless what is derived is what deploy/render.sh would write now.
rendered() {
  cp -r deploy "$work/deploy"
  HELM=$helm deploy/render.sh "$work/deploy"
  diff -r deploy "$work/deploy" >"$work/diff" || { head -20 "$work/diff"; fail "run deploy/render.sh: deploy/ is not what it renders"; }
}

# takes FILE says whether the gateway takes a configuration, with a file for every secret that it names.
takes() {
  local dir path
  dir=$(mktemp -d -p "$work")
  sed "s|/etc/gateway/|$dir/|g" "$1" >"$dir/gateway.yaml"
  grep -oE "$dir/(secret|configmap)/[^ \"]+" "$dir/gateway.yaml" | sort -u | while read -r path; do
    mkdir -p "$(dirname "$path")"
    echo "secret-of-${path##*/}-long-enough" >"$path"
  done
  ORG=1 "$work/gateway" check "$dir/gateway.yaml" >"$dir/said" || { cut -c1-300 "$dir/said"; fail "the gateway does not take $1"; }
}

# refuses TEXT VALUES says that helm refuses values, and why.
refuses() {
  printf '%s\n' "$2" >"$work/bad.yaml"
  if template deploy/values/dev.yaml "$work/bad.yaml" >"$work/out" 2>&1; then fail "helm takes what it must not: $2"; fi
  grep -q -- "$1" "$work/out" || { tail -5 "$work/out" | cut -c1-300; fail "helm refuses, but not because of '$1': $2"; }
}

# wants FILE TEXT fails unless a line of FILE has TEXT.
wants() { grep -qF -- "$2" "$1" || fail "$1 lacks '$2'"; }
lacks() { if grep -nF -- "$2" "$1"; then fail "$1 has '$2'"; fi; }

step "derived files are fresh"
rendered
go build -o "$work/gateway" ./cmd/gateway

for v in deploy/values/{dev,staging,prod}.yaml test/deploy/values/everything.yaml; do
  name=$(basename "$v" .yaml)
  step "helm $name"
  "$helm" lint --strict --quiet --kube-version $kube "$chart" --values "$v" >"$work/lint" || { cat "$work/lint"; fail "helm lint refuses $v"; }
  template "$v" >"$work/$name.yaml"
  valid "$work/$name.yaml"
  lacks "$work/$name.yaml" "subPath"
done
for o in dev staging prod; do
  step "kustomize $o"
  "$kustomize" build "deploy/kustomize/overlays/$o" >"$work/kustomize-$o.yaml"
  valid "$work/kustomize-$o.yaml"
  "$work/manifests" same "$work/$o.yaml" "$work/kustomize-$o.yaml"
  takes "deploy/kustomize/overlays/$o/gateway.yaml"
done

step "a rollout loses nothing, a reload starts nothing"
all=$work/everything.yaml
wants "$all" 'terminationGracePeriodSeconds: 102' # 1m30s + 1500ms rounded up + 10
wants "$work/staging.yaml" 'terminationGracePeriodSeconds: 45'
for f in "$work"/{dev,staging,prod,everything}.yaml; do
  wants "$f" 'maxUnavailable: 0'
  wants "$f" 'automountServiceAccountToken: false'
done
wants "$all" 'averageValue: "107374182"' # 40 % of max_inflight_bytes
wants "$work/prod.yaml" 'averageValue: "171798691"' # 40 % of 40 % of the memory limit
for port in 443 3128 8080 8443; do wants "$all" "- {port: $port, protocol: TCP}"; done

# hash VALUES prints what starts new pods.
hash() { template "$@" | sed -n 's/.*restart-hash: //p'; }
before=$(hash deploy/values/prod.yaml)
printf 'environments: {prod: {clients: {new: {bearer_token_file: {secret: gateway-clients, key: new}}}}}\nserver: {request_timeout: 20s}\n' >"$work/reloads.yaml"
[ "$(hash deploy/values/prod.yaml "$work/reloads.yaml")" = "$before" ] || fail "a new client starts new pods"
template deploy/values/prod.yaml "$work/reloads.yaml" >"$work/reloaded.yaml"
if diff <(grep -v request_timeout "$work/prod.yaml") <(grep -v request_timeout "$work/reloaded.yaml") | grep '^[<>]' | grep -vE 'new:|bearer_token_file: .*/new'; then
  fail "a new client changes more than gateway.yaml"
fi
for change in '{server: {max_series: 1}}' '{server: {max_connections: 1}}' '{ports: {http: {port: 81}}}' '{admin: {port: 9999}}' \
  '{server: {tls: {cert_file: /a, key_file: /b}}}' '{ports: {loki: null}}'; do
  printf '%s\n' "$change" >"$work/restarts.yaml"
  [ "$(hash deploy/values/prod.yaml "$work/restarts.yaml")" != "$before" ] || fail "$change starts no new pods"
done

step "what helm refuses"
refuses 'password' '{environments: {dev: {upstreams: {prometheus: {basic_auth: {password: plain}}}}}}'
refuses 'credentials' '{environments: {dev: {upstreams: {prometheus: {authorization: {credentials: plain}}}}}}'
refuses 'http_headers' '{environments: {dev: {upstreams: {loki: {http_headers: {X-A: {secrets: [plain]}}}}}}}'
refuses 'proxy_url' '{environments: {dev: {upstreams: {loki: {proxy_url: "http://user:password@proxy"}}}}}'
refuses 'file' '{environments: {dev: {clients: {apps: {bearer_token_file: plain-token}}}}}'
refuses 'file' '{environments: {dev: {clients: {other: {bearer_token_file: {secret: a}}}}}}'
refuses 'clinets' '{environments: {dev: {clinets: {}}}}'
refuses 'drain_dealy' '{server: {drain_dealy: 5s}}'
refuses 'drain_delay' '{server: {drain_delay: soon}}'
refuses 'environments is empty' '{environments: null}'
refuses 'image.repository is missing' '{image: {repository: ""}}'
refuses 'ports' '{ports: {a-name-of-a-port-that-is-too-long: {port: 1}}}'
refuses 'ports' '{ports: {http: null}}'

step "dashboards and rules"
cp -r "$chart" "$work/chart"
mkdir -p "$work"/chart/files/{grafana,prometheus}
echo '{"title": "{{ not a template }}"}' >"$work/chart/files/grafana/an_example.json"
printf 'groups:\n  - name: example\n    rules:\n      - alert: Example\n        expr: vector(1)\n        annotations: {summary: "{{ $labels.client }}"}\n' \
  >"$work/chart/files/prometheus/an_example.yaml"
TEMPLATE_CHART=$work/chart template deploy/values/prod.yaml >"$work/monitoring.yaml"
valid "$work/monitoring.yaml"
wants "$work/monitoring.yaml" 'name: telemetry-gateway-an-example'
wants "$work/monitoring.yaml" '{"title": "{{ not a template }}"}'
wants "$work/monitoring.yaml" '{summary: "{{ $labels.client }}"}'
wants "$work/monitoring.yaml" 'kind: PrometheusRule'

step "senders"
test/integration/install.sh # Prometheus
[ -z "$(gofmt -l deploy/clients)" ] || fail "not gofmt-ed: $(gofmt -l deploy/clients)"
(cd deploy/clients/go && go vet ./... && go build -o "$work/checkout" .)
(cd test/deploy/otelcol && go vet ./... && go build -o "$work/otelcol" .)
(cd test/deploy/jaeger && go vet ./... && go build -o "$work/jaeger" .)
go vet -tags clients,agents ./test/deploy/clients
VMAGENT=$VMAGENT CHECKOUT=$work/checkout OTELCOL=$work/otelcol JAEGER=$work/jaeger go test -count=1 -timeout 5m -tags clients ./test/deploy/clients
echo "deploy: PASS"
