#!/usr/bin/env bash
# Writes what is derived from something else under deploy/, so that every fact is said once:
#
#   deploy/grafana/*.json, rule files of             ->  the chart's files/: helm reads nothing outside a chart
#   deploy/prometheus (those with groups)
#   the chart and deploy/values/*.yaml               ->  deploy/kustomize: files of base and monitoring with a kind in their
#                                                        name, gateway.yaml of each overlay, the autoscaler of prod
#
# Run it after a change to any of them; test/deploy/run.sh fails where it was not. Wants helm and Go.
#
#   deploy/render.sh          into deploy/
#   deploy/render.sh DIR      into another copy of deploy/
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-deploy}
chart=deploy/helm/telemetry-gateway
helm=${HELM:-helm}
manifests=$(mktemp -d)
trap 'rm -rf "$manifests"' EXIT
go build -o "$manifests/manifests" ./test/deploy/manifests
work() { "$manifests/manifests" "$@"; }

files=$out/helm/telemetry-gateway/files
rm -rf "$files"
shopt -s nullglob
for f in deploy/grafana/*.json deploy/prometheus/*.yaml; do
  if [[ $f == *.json ]] || grep -q '^groups:' "$f"; then install -D -m 644 "$f" "$files/${f#deploy/}"; fi
done

# render VALUES prints what helm would install. The chart is that of $out, whose files are fresh.
render() {
  "$helm" template telemetry-gateway "$out/${chart#deploy/}" --kube-version 1.33.0 --namespace telemetry --values "$1"
}

k=$out/kustomize
rm -f "$k"/base/*-*.yaml "$k"/monitoring/*.yaml
render deploy/kustomize/base/values.yaml | work split "$k/base" ServiceAccount Deployment Service PodDisruptionBudget NetworkPolicy
render deploy/values/prod.yaml >"$manifests/prod.yaml"
work split "$k/monitoring" ServiceMonitor PrometheusRule Dashboard <"$manifests/prod.yaml"
work split "$k/overlays/prod" HorizontalPodAutoscaler <"$manifests/prod.yaml"
{
  echo "# Rendered by deploy/render.sh. Needs the Prometheus operator; dashboards are found by Grafana's sidecar."
  echo "apiVersion: kustomize.config.k8s.io/v1alpha1"
  echo "kind: Component"
  echo "resources:"
  (cd "$k/monitoring" && for f in *-*.yaml; do echo "  - $f"; done)
} >"$k/monitoring/kustomization.yaml"
for overlay in dev staging prod; do
  render "deploy/values/$overlay.yaml" | work config >"$k/overlays/$overlay/gateway.yaml"
done
