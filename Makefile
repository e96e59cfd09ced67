# Run "make" to see what there is. Variables: CLUSTER_NAME (which test cluster), K8S
# (another version of Kubernetes for it, such as v1.35.x; empty is the pinned one),
# ARGS (for kubectl), FUZZTIME (per fuzz test), BENCHTIME, TABLE (the document that
# bench and test-rollout write their tables into; empty is none), SETS and SEED (of
# test-plan; seed 0 is a new one), OUTAGE (of test-gate: durations, separated by
# commas), KUBECONFIG, IMAGE and POD_IMAGE (of demo: an existing cluster, the image
# of the webhook and that of the pods on it).
.DEFAULT_GOAL := help
GO ?= go
# As the webhook is compiled, so that nothing is compiled twice.
RUN = CGO_ENABLED=0 $(GO) run -trimpath
CLUSTER = $(RUN) ./test/cluster/cmd/cluster
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME ?= 30s
BENCHTIME ?= 1s
TABLE ?= docs/performance.md
SETS ?= 2000
SEED ?= 0
OUTAGE ?= 10m
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null)

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
	docker build --build-arg VERSION=$(VERSION) --tag sts-webhook:latest .

.PHONY: image-archive
image-archive: ## write the same image to bin/sts-webhook.tar ("docker save" format), without an engine
	@mkdir -p bin
	$(CLUSTER) build-image bin/sts-webhook.tar

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

.PHONY: test
test: ## run the tests that need no cluster and no root
	$(GO) test -race ./...
	@# What the race detector would distort, one package at a time: the exploration of the rotation protocol, allocations, and
	@# how long calls take beside faults.
	$(GO) test -p 1 -run 'Explore|Allocations|Faults' ./internal/...

.PHONY: verify
verify: test test-cluster ## run all tests; those on a real cluster need root

.PHONY: test-cluster
test-cluster: ## run the tests on real clusters (root)
	@if [ "$$(id -u)" = 0 ]; then set -x; TEST_CLUSTER=1 $(GO) test -p 1 -count=1 -timeout 30m -v -run 'Cluster|EndToEnd|Chaos' ./test/...; \
	else echo "NOT RUN: the tests on a real cluster, which need root for namespaces, mounts and cgroups"; fi

.PHONY: test-chaos
test-chaos: ## break things under load on a real cluster and count refused pods (root)
	TEST_CLUSTER=1 CHAOS=full CHAOS_TABLE=$(CURDIR)/docs/rotation.md $(GO) test -count=1 -timeout 80m -v -run Chaos ./test/chaos

.PHONY: test-alerts
test-alerts: ## alerts on a real cluster, with 30 rollouts and a flood of 100,000 events (root)
	TEST_CLUSTER=1 TEST_ALERTS=full $(GO) test -count=1 -timeout 40m -v -run EndToEnd ./test/alerts

.PHONY: test-plan
test-plan: ## compare plan with what becomes of SETS random StatefulSets on a real control plane (root)
	TEST_CLUSTER=1 $(GO) test -count=1 -timeout 60m -v -run EndToEnd ./test/plan -sets=$(SETS) -seed=$(SEED)

.PHONY: test-rollout
test-rollout: ## restart, kill and drain replicas under load on a real cluster and count refused pods (root)
	TEST_CLUSTER=1 ROLLOUT=full ROLLOUT_TABLE=$(TABLE) $(GO) test -count=1 -timeout 60m -v -run EndToEnd ./test/rollout

.PHONY: test-gate
test-gate: ## take all replicas away with each failure policy, kill, cut off, place 2000 pods; writes docs/availability.md (root)
	TEST_CLUSTER=1 GATE=full GATE_TABLE=docs/availability.md $(GO) test -count=1 -timeout 180m -v -run EndToEnd ./test/gate -outage=$(OUTAGE)

.PHONY: test-existing
test-existing: ## run on your cluster what needs no other: KUBECONFIG=FILE IMAGE=NAME
	@[ -n '$(EXISTING)' ] || { echo "make test-existing: give KUBECONFIG=FILE IMAGE=NAME on the command line of make" >&2; exit 1; }
	TEST_KUBECONFIG="$(KUBECONFIG)" IMAGE="$(IMAGE)" POD_IMAGE="$(POD_IMAGE)" $(GO) test -count=1 -timeout 30m -v -run EndToEnd ./test/e2e

.PHONY: test-compat
test-compat: ## run the end-to-end suite and a rotation on another Kubernetes, K8S=v1.35.x; writes README.md (root)
	TEST_CLUSTER=1 K8S=$(K8S) COMPAT_TABLE=README.md $(GO) test -count=1 -timeout 90m -v -run EndToEnd ./test/e2e
	TEST_CLUSTER=1 K8S=$(K8S) CHAOS=full CHAOS_ONLY='^(5 rotations|`rotate)' $(GO) test -count=1 -timeout 90m -v -run Chaos ./test/chaos

.PHONY: bench
bench: ## compare the webhook with the floor, the textbook and kube-apiserver's own policy (root)
	$(GO) run ./test/bench -write "$(TABLE)"

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
	$(GO) run $(STATICCHECK) ./...
