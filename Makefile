# Everything that is checked. CI runs `make test`.
SHELL := bash
GO ?= go

.PHONY: test test-clients tools lint unit race integration deploy image test-k8s fuzz bench results build clean

test: tools lint unit race integration deploy image ## everything CI checks; installs what it needs

build: ## the binary, with its version
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w -X main.version=$$(git describe --tags --always --dirty 2>/dev/null || echo dev)" -o gateway ./cmd/gateway

tools: ## what the tests need besides Go: a real Prometheus and node exporter
	test/integration/install.sh

lint:
	@out="$$(gofmt -l cmd internal loadtest test *.go)"; test -z "$$out" || { echo "not gofmt-ed: $$out"; exit 1; }
	$(GO) vet ./...
	cd test/integration && $(GO) vet ./...
	$(GO) vet -tags kubernetes ./test/kubernetes

unit: ## also runs every fuzz corpus
	$(GO) test ./...

race: ## everything again under the race detector
	$(GO) test -race ./...

integration: ## real clients and servers around the real binary
	cd test/integration && $(GO) test -count=1 -timeout 15m ./...

deploy: ## the chart, the manifests, the rules and the senders' settings
	test/deploy/run.sh

test-clients: ## agents with the files of deploy/clients; minutes to build, so not a part of test
	test/deploy/agents.sh

image: ## the Dockerfile, built and run as Kubernetes does
	test/image/run.sh

test-k8s: ## opt-in: the chart and the overlays in a real control plane, which is built first
	test/kubernetes/run.sh

FUZZTIME ?= 30s
fuzz: ## every fuzz target for FUZZTIME each
	@set -e; for pkg in $$($(GO) list ./...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "== $$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$pkg; \
	  done; done

BENCHTIME ?= 200ms
bench: ## what each stage costs, beside the parts it cannot do without
	@set -o pipefail; pkgs="$$(grep -rl --include=*_test.go 'func BenchmarkStages(' internal | xargs -r -n1 dirname | sort -u | sed 's,^,./,')"; \
	  test -n "$$pkgs" || { echo "no package has BenchmarkStages"; exit 1; }; \
	  $(GO) test -run '^$$' -bench '^BenchmarkStages$$' -benchtime $(BENCHTIME) -count 3 -p 1 $$pkgs | $(GO) run ./loadtest stages

results: ## loadtest/results and what README.md quotes of them; twenty minutes on a machine that does nothing else
	$(GO) run ./loadtest -scenario all -floor -parts -out loadtest/results
	$(GO) run ./loadtest compare -out loadtest/results
	$(GO) run ./loadtest quote

clean:
	rm -rf gateway .tools
