# Run "make" to see what there is. Variables: CLUSTER_NAME (which test cluster), K8S
# (another version of Kubernetes for it, such as v1.35.x; empty is the pinned one),
# ARGS (for kubectl), FUZZTIME (per fuzz test), BENCHTIME, TABLE (the document that
# bench and test-rollout write their tables into; empty is none), DATA (the directory
# for what the plots show), SETS and SEED (of test-plan; seed 0 is a new one), OUTAGE
# (of test-gate: durations, separated by commas), KUBECONFIG, IMAGE and POD_IMAGE (of
# demo: an existing cluster, the image of the webhook and that of the pods on it),
# VERSION and IMAGE (of release; CONTRIBUTING.md).
.DEFAULT_GOAL := help
GO ?= go
# As the webhook is compiled, so that nothing is compiled twice.
RUN = CGO_ENABLED=0 $(GO) run -trimpath
CLUSTER = $(RUN) ./test/cluster/cmd/cluster
# Tools with versions of their own, so that go.mod lists what the product needs.
TOOL = $(GO) tool -modfile=$(CURDIR)/tools/go.mod
FUZZTIME ?= 30s
BENCHTIME ?= 1s
TABLE ?= docs/performance.md
DATA ?= docs/data
SETS ?= 2000
SEED ?= 0
OUTAGE ?= 10m
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null)
REVISION ?= $(shell git rev-parse HEAD 2>/dev/null)

# Only a KUBECONFIG on the command line of make counts: one that happens to be in the environment may be of a cluster in use.
ifneq ($(filter command%,$(origin KUBECONFIG)),)
EXISTING = --kubeconfig="$(KUBECONFIG)" --image="$(IMAGE)" $(if $(POD_IMAGE),--pod-image="$(POD_IMAGE)")
endif

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

.PHONY: build
build: ## compile the static binary bin/sts-webhook
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w -X sts-mutating-webhook/internal/app.version=$(VERSION)" -o bin/sts-webhook .

.PHONY: image
image: ## build sts-webhook:latest with a container engine
	@docker info >/dev/null 2>&1 || { echo "make image: no container engine answers to docker; make image-archive needs none" >&2; exit 1; }
	docker build --build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) --tag sts-webhook:latest .

.PHONY: image-archive
image-archive: ## write the same image to bin/sts-webhook.tar ("docker save" format), without an engine
	@mkdir -p bin
	$(CLUSTER) build-image bin/sts-webhook.tar

.PHONY: release
release: ## write dist/ for VERSION=vX.Y.Z, which must be given; IMAGE is the image of its install.yaml
	@$(GO) run ./release --version="$(if $(filter file,$(origin VERSION)),,$(VERSION))" --image="$(IMAGE)"

.PHONY: cluster-up
cluster-up: ## bring up a real three-node Kubernetes on this machine (root)
	$(CLUSTER) up

.PHONY: cluster-down
cluster-down: ## remove it
	$(CLUSTER) down

.PHONY: kubectl
kubectl: ## run kubectl in it: make kubectl ARGS="get pods -A"
	@$(CLUSTER) kubectl $(ARGS)

.PHONY: demo
demo: ## see StatefulSet pods land on the right nodes of a real cluster (root), or of yours: KUBECONFIG=FILE IMAGE=NAME
	$(RUN) ./test/demo $(EXISTING)

.PHONY: recording
recording: ## run the demo and keep what it prints as docs/demo.cast and docs/demo.svg (root)
	$(GO) run ./test/demo/recording -cast docs/demo.cast -svg docs/demo.svg -title "make$(if $(CLUSTER_NAME), CLUSTER_NAME=$(CLUSTER_NAME)) demo" -- $(GO) run ./test/demo

.PHONY: test
test: ## run the tests that need no cluster and no root
	$(GO) test -race ./...
	@# What the race detector would distort, one package at a time: the exploration of the rotation protocol, allocations, and
	@# how long calls take beside faults.
	$(GO) test -p 1 -run 'Explore|Allocations|Faults' ./internal/...
	cd test/plots && $(GO) test .
	@# The chart, rendered by Helm's packages: a module of its own.
	cd test/chart/helm && CGO_ENABLED=0 $(GO) test -trimpath .

.PHONY: verify
verify: test test-cluster ## run all tests; those on a real cluster need root

# Suites that mostly wait, or hold nothing to a time in seconds. They run beside the others.
WAITING = $(addprefix sts-mutating-webhook/test/,alerts monitoring plan)
SUITES = TEST_CLUSTER=1 $(GO) test -p 1 -short -count=1 -timeout 40m -v -run 'Cluster|EndToEnd|Chaos'

.PHONY: test-cluster
test-cluster: ## run the tests on real clusters (root)
	@if [ "$$(id -u)" = 0 ]; then $(MAKE) --no-print-directory -j 2 suites-waiting suites-busy; \
	else echo "NOT RUN: the tests on a real cluster, which need root for namespaces, mounts and cgroups"; fi

.PHONY: suites-waiting suites-busy
suites-waiting:
	$(SUITES) $(WAITING)
suites-busy:
	$(SUITES) $(filter-out $(WAITING),$(shell $(GO) list ./test/...))

.PHONY: test-chaos
test-chaos: ## break things under load on a real cluster and count refused pods (root)
	TEST_CLUSTER=1 $(GO) test -count=1 -timeout 80m -v -run Chaos ./test/chaos -write docs/rotation.md -data=$(CURDIR)/$(DATA)

.PHONY: test-alerts
test-alerts: ## alerts on a real cluster, with 30 rollouts and a flood of 100,000 events (root)
	TEST_CLUSTER=1 $(GO) test -count=1 -timeout 40m -v -run EndToEnd ./test/alerts

.PHONY: test-plan
test-plan: ## compare plan with what becomes of SETS random StatefulSets on a real control plane (root)
	TEST_CLUSTER=1 $(GO) test -count=1 -timeout 60m -v -run EndToEnd ./test/plan -sets=$(SETS) -seed=$(SEED)

.PHONY: test-rollout
test-rollout: ## restart, kill and drain replicas under load on a real cluster and count refused pods (root)
	TEST_CLUSTER=1 $(GO) test -count=1 -timeout 60m -v -run EndToEnd ./test/rollout -write "$(TABLE)"

.PHONY: test-gate
test-gate: ## take all replicas away with each failure policy, kill, cut off, place 2000 pods; writes docs/availability.md (root)
	TEST_CLUSTER=1 $(GO) test -count=1 -timeout 180m -v -run EndToEnd ./test/gate -outage=$(OUTAGE) -write docs/availability.md

.PHONY: test-chart
test-chart: ## the Helm chart: rendered, then pushed, installed, upgraded and uninstalled on a real cluster (root)
	cd test/chart/helm && CGO_ENABLED=0 $(GO) test -trimpath .
	TEST_CLUSTER=1 $(GO) test -count=1 -timeout 30m -v -run EndToEnd ./test/chart

.PHONY: test-release
test-release: ## make a release twice, build the Dockerfile for two architectures, install both on a real cluster (root)
	TEST_CLUSTER=1 $(GO) test -count=1 -timeout 40m -v -run EndToEnd ./test/release

.PHONY: test-monitoring
test-monitoring: ## cause the incident of each Prometheus alert on a real cluster (root)
	TEST_CLUSTER=1 $(GO) test -count=1 -timeout 20m -v -run 'Cluster|EndToEnd' ./test/monitoring

.PHONY: test-existing
test-existing: ## run on your cluster what needs no other: KUBECONFIG=FILE IMAGE=NAME
	@[ -n '$(EXISTING)' ] || { echo "make test-existing: give KUBECONFIG=FILE IMAGE=NAME on the command line of make" >&2; exit 1; }
	TEST_KUBECONFIG="$(KUBECONFIG)" IMAGE="$(IMAGE)" POD_IMAGE="$(POD_IMAGE)" $(GO) test -count=1 -timeout 30m -v -run EndToEnd ./test/e2e

.PHONY: test-compat
test-compat: ## run the end-to-end suite, rotations and a gate in the template on another Kubernetes, K8S=v1.35.x; writes README.md (root)
	TEST_CLUSTER=1 K8S=$(K8S) $(GO) test -count=1 -timeout 90m -v -run EndToEnd ./test/e2e -write README.md
	TEST_CLUSTER=1 K8S=$(K8S) $(GO) test -count=1 -timeout 90m -v -run 'TestChaos$$/^(5_rotations|rotate_--distrust-now$$)' ./test/chaos
	TEST_CLUSTER=1 K8S=$(K8S) $(GO) test -count=1 -timeout 90m -v -run 'TestEndToEndGate$$/^the_gate_in_the_pod_template$$' ./test/gate

.PHONY: bench
bench: ## compare the webhook with the floor, the textbook and kube-apiserver's own policy (root)
	TEST_CLUSTER=1 $(GO) test -count=1 -timeout 40m -v -run Bench ./test/bench -write "$(TABLE)" -data "$(DATA)"

.PHONY: plot-data
plot-data: ## measure anew what the plots show, without a document; about 15 minutes (root)
	TEST_CLUSTER=1 $(GO) test -count=1 -timeout 30m -v -run 'TestChaos$$/^20_rotations' ./test/chaos -data=$(CURDIR)/$(DATA)
	TEST_CLUSTER=1 $(GO) test -count=1 -timeout 40m -v -run Bench ./test/bench -data "$(DATA)"

.PHONY: plots
plots: ## draw docs/plots from docs/data
	cd test/plots && $(GO) run . -data ../../docs/data -out ../../docs/plots

.PHONY: bench-go
bench-go: ## run the Go benchmarks
	$(GO) test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) ./...

.PHONY: fuzz
fuzz: ## run every fuzz test for FUZZTIME
	@grep -rl --include='*_test.go' '^func Fuzz' . | xargs -r dirname | sort -u | while read -r dir; do \
	  for name in $$($(GO) test -list '^Fuzz' "$$dir" | grep '^Fuzz'); do \
	    $(GO) test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x "$$dir" </dev/null || exit 1; \
	  done || exit 1; \
	done

.PHONY: lint
lint: ## check format, go vet and staticcheck
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$unformatted" ] || { echo "run gofmt on: $$unformatted" >&2; exit 1; }
	$(GO) vet ./...
	$(TOOL) staticcheck ./...
	cd test/plots && $(GO) vet .

.PHONY: vulncheck
vulncheck: ## look for known vulnerabilities in what the program calls (needs https://vuln.go.dev)
	$(TOOL) govulncheck ./...
