.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# Without cgo the builds of tools, function and tests share one cache, and no C
# compiler is asked for.
test test-engine test-units test-release test-manifests test-pages test-monitoring test-render golden generate check-generated bench bench-report: export CGO_ENABLED := 0
simulate simulate-walk simulate-mutants: export CGO_ENABLED := 0

# go vet is part of make lint. Before a test it would have all that the test is built
# from read once more, dependencies included, which takes a seventh of what building
# them does.
go-test := go test -vet=off

##@ See what it does

.PHONY: preview
preview: ## Show a tenant's whole life, without a cluster: of XR= (with PREVIEW="--delete" and the like; PREVIEW=--help tells of all).
	@CGO_ENABLED=0 go build -o _output/preview ./hack/preview
	@_output/preview $(PREVIEW) $(XR)

.PHONY: render
render: build ## Print what Crossplane would create for XR= (with OBSERVED=, REQUIRED=, COMPOSITION=).
	@hack/render

##@ Change it

.PHONY: build
build: ## Build the function into _output/.
	@CGO_ENABLED=0 go build -o _output/function .

.PHONY: generate
generate: ## Generate deep copies, the XRD, the Platform's CRD, the reference pages and that of performance.
	@hack/generate

.PHONY: check-generated
check-generated: ## Fail if a generated file is not up to date.
	@hack/generate --check

.PHONY: golden
golden: ## Rewrite what test/render/testdata wants to what is rendered now: read the diff before you commit it.
	@cd test/render && $(go-test) -count=1 -run='^TestLifecycle$$' . -update
	@cd test/render && $(go-test) -count=1 -run='^TestGolden$$' . -update

.PHONY: lint
lint: ## Lint the Go code of every module here.
	@hack/lint

.PHONY: help
help: ## List the targets, by what one wants to do.
	@awk -F ':.*## ' '/^##@ / { printf "\n%s\n", substr($$0, 5) } /^[a-z0-9-]+:.*## / { printf "  %-19s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

##@ Test it

.PHONY: test
test: test-units test-release test-manifests check-generated ## Test what takes Go alone (make -k test goes on after a failure).

.PHONY: test-engine
test-engine: test-render test-pages test-monitoring ## Test what takes Crossplane's own engine, or Prometheus' rules: a quarter of an hour once, to build them.

.PHONY: test-units
test-units: ## Test the function, the effects and the simulation, with histories from seed SIMULATE_FIRST= on (1).
	@SIMULATE_FIRST=$${SIMULATE_FIRST:-1} $(go-test) -timeout=30m ./...

.PHONY: test-release
test-release: ## Test what signs a release, what verifies one, and what makes its images and bills.
	@for module in attest image sbom; do (cd "tools/$$module" && $(go-test) ./...) || exit 1; done

.PHONY: test-manifests
test-manifests: ## Test what is in deploy/, example/ and docs/.
	@cd test/deploy && $(go-test) -count=1 -skip='^TestCommands' ./...

.PHONY: test-pages
test-pages: ## Run the commands on pages that need no cluster, and hold the others to what there is.
	@hack/tool crossplane >/dev/null && hack/tool crossplane-cli >/dev/null
	@cd test/deploy && $(go-test) -count=1 -run='^TestCommands' ./...

.PHONY: test-render
test-render: ## Test tenants that the real engine renders, against goldens, schemas and rules.
	@hack/tool crossplane >/dev/null && hack/tool crossplane-cli >/dev/null
	@cd test/render && $(go-test) -count=1 ./...

.PHONY: test-monitoring
test-monitoring: ## Play histories to the alerts, and hold alerts and dashboard to the metrics that there are.
	@hack/tool promtool >/dev/null
	@cd test/monitoring && $(go-test) ./...

##@ Try to break it: random histories, and functions that were broken on purpose

SEEDS ?= 10000

.PHONY: simulate
simulate: ## Play SEEDS= random histories of tenants, fresh ones or from seed FIRST= on, and print those that break an invariant.
	@$(go-test) ./test/simulation -count=1 -v -timeout=5h -run='^TestHistories$$' -seeds=$(SEEDS) -first=$(or $(FIRST),0)

DEPTH ?= 2

.PHONY: simulate-walk
simulate-walk: ## Take every action that there is, and DEPTH= of them one after the other, from a tenant just created and from one in service.
	@$(go-test) ./test/simulation -count=1 -v -timeout=5h -run='^TestWalk$$' -depth=$(DEPTH)

.PHONY: simulate-mutants
simulate-mutants: ## Fail unless the simulation catches every one of a set of broken functions.
	@$(go-test) ./test/simulation -count=1 -v -timeout=30m -run='^TestMutants$$' -mutants

##@ Test it on real servers, which are installed or built if need be

.PHONY: test-effects
test-effects: ## Test the effects against real servers, which it installs or builds if need be.
	@hack/test-effects

.PHONY: e2e
e2e: ## Install this project in a real control plane, made of processes, and walk the runbook (KEEP=1 leaves it up).
	@hack/e2e -test.run='^TestE2E$$'

.PHONY: e2e-pages
e2e-pages: ## Do in such a control plane what pages say (KEEP=1 leaves it up).
	@hack/e2e -test.run='^TestPages$$'

.PHONY: e2e-faults
e2e-faults: ## Kill each process of that control plane while FAULTS= tenants come and go (20), and have servers fail.
	@FAULTS=$(or $(FAULTS),20) hack/e2e -test.run='^TestFaults$$'

.PHONY: e2e-flux
e2e-flux: ## Have Flux install this project in that control plane, and keep its tenants.
	@FLUX=1 hack/e2e -test.run='^TestFlux$$'

##@ Measure it

.PHONY: bench
bench: ## Measure what a call costs beside an echo of the same messages, the start and the size.
	@cd test/bench && go run . $(BENCH)

TENANTS ?= 100

.PHONY: bench-fleet
bench-fleet: ## Measure what TENANTS= tenants cost on a real control plane, then left alone (REST=0s: not; CACHE=1: with Crossplane keeping answers; RESTORED=1: as out of a backup).
	@TENANTS=$(TENANTS) hack/e2e -test.run='^TestFleet$$' -test.timeout=12h

.PHONY: bench-effects
bench-effects: ## Measure what the backup of a large tenant costs, and write it to docs/.
	@hack/bench-effects

.PHONY: bench-report
bench-report: ## Write docs/performance.md from what was measured.
	@cd test/bench && go run . -report

##@ Release it

.PHONY: package
package: ## Build both packages into _output/ (with VERSION=, GOARCH=, REGISTRY=).
	@hack/package

.PHONY: effects-image
effects-image: ## Build the effects' image into _output/ (with VERSION=, GOARCH=, DEBIAN_MIRROR=).
	@hack/effects-image

.PHONY: effects-image-check
effects-image-check: ## Build the effects' image, and run its programs in it.
	@hack/effects-image --check

.PHONY: release
release: ## Build what a release consists of into _output/release/ (with VERSION=v1.2.3).
	@hack/release

.PHONY: release-check
release-check: ## Build a release in two clones, and fail unless it is the same bytes (with VERSION=v1.2.3).
	@hack/release --check

.PHONY: verify-release
verify-release: ## Fail unless the release in DIR= is what the owner of the public key KEY= has signed.
	@cd tools/attest && CGO_ENABLED=0 go run . verify -key "$(abspath $(KEY))" -dir "$(abspath $(or $(DIR),_output/release))"
