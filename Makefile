.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help
help: ## List the targets.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  %-14s %s\n", $$1, $$2 }'

.PHONY: build
build: ## Build the function into _output/.
	@CGO_ENABLED=0 go build -o _output/function .

.PHONY: render
render: build ## Print what Crossplane would create for XR= (with OBSERVED=, REQUIRED=, COMPOSITION=).
	@hack/render

.PHONY: generate
generate: ## Generate deep copies, the XRD, the Platform's CRD and the reference pages from the API types.
	@hack/generate

.PHONY: check-generated
check-generated: ## Fail if a generated file is not up to date.
	@hack/generate --check

.PHONY: test-effects
test-effects: ## Test the effects against real servers, which it installs or builds if need be.
	@hack/test-effects

.PHONY: bench-effects
bench-effects: ## Measure what the backup of a large tenant costs, and write it to docs/.
	@hack/bench-effects

SEEDS ?= 10000

.PHONY: simulate
simulate: ## Play SEEDS= random histories of tenants, from seed FIRST= on, and print those that break an invariant.
	@go test ./test/simulation -count=1 -v -timeout=30m -run='^TestHistories$$' -seeds=$(SEEDS) -first=$(or $(FIRST),1)

.PHONY: simulate-mutants
simulate-mutants: ## Fail unless the simulation catches every one of a set of broken functions.
	@go test ./test/simulation -count=1 -v -timeout=30m -run='^TestMutants$$' -mutants
