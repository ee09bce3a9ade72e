#!/usr/bin/env bash
# Runs the agents of deploy/clients that take minutes to build (of a processor: Telegraf one, Alloy two, Promtail six), with those very
# files: make test-clients. They are built once, into .tools/; run.sh runs all other senders.
set -euo pipefail
cd "$(dirname "$0")/../.."
export GOFLAGS=-buildvcs=false CGO_ENABLED=0
tools=$PWD/.tools/deploy
mkdir -p "$tools/agents"

# Only the plugins that the file and its test name.
telegraf=$tools/telegraf-v1.37.2
[ -x "$telegraf/telegraf" ] || GOBIN=$telegraf go install -trimpath -ldflags='-s -w' \
  -tags custom,inputs.tail,outputs.http,parsers.influx,serializers.prometheusremotewrite github.com/influxdata/telegraf/cmd/telegraf@v1.37.2
(cd test/deploy/promtail && go build -trimpath -ldflags='-s -w' -o "$tools/agents/promtail" github.com/grafana/loki/v3/clients/cmd/promtail)
(cd test/deploy/alloy && go vet -trimpath . && go build -trimpath -ldflags='-s -w' -o "$tools/agents/alloy" .)
(cd deploy/clients/go && go build -o "$tools/agents/checkout" .)

CHECKOUT=$tools/agents/checkout TELEGRAF=$telegraf/telegraf PROMTAIL=$tools/agents/promtail ALLOY=$tools/agents/alloy \
  go test -count=1 -timeout 5m -tags clients,agents -run '^Test(Telegraf|Promtail|Alloy)$' ./test/deploy/clients
echo "agents: PASS"
