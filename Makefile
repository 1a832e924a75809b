# bfsd: what there is to do here. `make help` lists it.

SHELL := /bin/bash -o pipefail
BIN   := bin/bfsd
NFS   ?= 127.0.0.1:12049
DIR   ?= bfsd-data
FUZZTIME ?= 5s
SOAKTIME ?= 5m
TOOL  := go tool -modfile=.ci/tools/go.mod

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build bin/bfsd
	go build -o $(BIN) ./cmd/bfsd

.PHONY: release
release: ## Build bin/release/bfsd: static, without paths of this machine, the same bytes from the same commit and Go
	CGO_ENABLED=0 go build -buildvcs=true -trimpath -ldflags '-s -w -buildid=' -o bin/release/bfsd ./cmd/bfsd
	@install -d -m 0700 bin/release/data

.PHONY: image
image: release ## Make bin/release/bfsd-image.tar, an OCI image of it, without a container engine (needs jq)
	deploy/container/image bin/release/bfsd bin/release/bfsd-image.tar

.PHONY: up
up: build ## Bring up four replicas and a gateway on this machine, and print how to mount them
	$(BIN) up --dir $(DIR) --nfs $(NFS)

.PHONY: deps
deps: ## Install what the tests need beyond Go and gcc (Debian packages; as root or with sudo)
	@.ci/deps

.PHONY: test
test: deps ## Install what the tests need and run them all: race detector on, real kernel mount included
	go vet ./...
	BFSD_REQUIRE_KERNEL_CLIENT=1 go test -race -timeout 45m ./...
	go vet -tags byzantine ./replica ./cmd/bfsd
	go test -race -tags byzantine -run 'Faulty|Corrupt|Misbehaviour' ./replica

.PHONY: faults
faults: deps ## The long tests with a kernel mount: faulty replicas, outages and partitions of 4 and 7, a million names
	BFSD_REQUIRE_KERNEL_CLIENT=1 BFSD_LONG_TESTS=1 go test -tags byzantine -timeout 30m -run 'FaultyReplica' -v ./cmd/bfsd
	BFSD_REQUIRE_KERNEL_CLIENT=1 BFSD_LONG_TESTS=1 go test -timeout 30m -run 'Outage|Partition|HugeDirectory|FailsOver|MountWaits' -v ./cmd/bfsd

CYCLES ?= 200

.PHONY: crash
crash: deps ## Kill random sets of replicas, up to all, under load on a kernel mount, CYCLES (200) times; damage every file of a store
	BFSD_REQUIRE_KERNEL_CLIENT=1 BFSD_CRASH_CYCLES=$(CYCLES) go test -timeout 120m -run 'KillingReplicas' -v ./cmd/bfsd
	BFSD_LONG_TESTS=1 go test -timeout 120m -run 'Damage|PowerCut' -v ./replica ./replica/store

.PHONY: conformance
conformance: deps ## The long form of the conformance tests, on a kernel mount: every case, and many random ones
	BFSD_REQUIRE_KERNEL_CLIENT=1 BFSD_LONG_TESTS=1 go test -timeout 60m -v ./internal/conformance

.PHONY: programs
programs: deps ## git, make, sqlite, tar, rsync, find and rm -r of 100,000 files on a kernel mount of four replicas and on a local file system, compared
	BFSD_REQUIRE_KERNEL_CLIENT=1 BFSD_LONG_TESTS=1 go test -timeout 60m -run Programs -v ./internal/conformance

.PHONY: quick
quick: ## The tests that need neither root nor a kernel mount
	go test -short ./...

.PHONY: lint
lint: ## golangci-lint, staticcheck and gofumpt, at the versions of .ci/tools/go.mod
	$(TOOL) golangci-lint run ./...
	$(TOOL) staticcheck ./...
	@dirty=$$($(TOOL) gofumpt -l .); test -z "$$dirty" || { echo "not gofumpt-clean:"; echo "$$dirty"; exit 1; }

.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZTIME (5s)
	@.ci/fuzz $(FUZZTIME)

.PHONY: soak
soak: ## Send damaged calls to the NFS server through its socket for SOAKTIME (5m)
	BFSD_SOAK=$(SOAKTIME) go test -count 1 -timeout 25h -run '^TestSoak$$' -v ./nfs

.PHONY: bench
bench: ## The Andrew benchmark through the kernel client: bfs, plain and go-nfs, five runs each
	go run ./bench/andrew --targets bfs,plain,go-nfs --client kernel --runs 5

.PHONY: bench-deps
bench-deps: ## Install the other NFS servers that the Andrew benchmark compares with (Debian packages; as root or with sudo)
	@.ci/bench-deps

.PHONY: bench-null
bench-null: ## Null operations: groups beside an unreplicated server, optimisations off and on, view change, checkpoints
	go run ./bench/null

.PHONY: clean
clean: ## Remove what was built (not the data directory)
	rm -rf bin
