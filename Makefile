# bfsd: what there is to do here. `make help` lists it.

SHELL := /bin/bash -o pipefail
BIN   := bin/bfsd
NFS   ?= 127.0.0.1:12049
DIR   ?= bfsd-data
FUZZTIME ?= 5s
SOAKTIME ?= 5m
OBS   ?= observations
RUNS  ?= 5
TOOL  := go tool -modfile=.ci/tools/go.mod
# A test that fails is run once more, alone, unless it found a data race or ten fail: real processes on
# a machine that is busy otherwise can be too slow for a test. Both outcomes are printed.
GOTEST := $(TOOL) gotestsum --format pkgname-and-test-fails --format-hide-empty-pkg --rerun-fails=1 --rerun-fails-max-failures=10 --rerun-fails-abort-on-data-race --rerun-fails-run-root-test

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
	@mkdir -p bin
	BFSD_REQUIRE_KERNEL_CLIENT=1 $(GOTEST) --jsonfile-timing-events bin/test-times.json --packages ./... -- -race -timeout 45m
	@$(TOOL) gotestsum tool slowest --threshold 15s --jsonfile bin/test-times.json
	go vet -tags byzantine ./replica ./cmd/bfsd
	$(GOTEST) --packages ./replica -- -race -tags byzantine -run 'Faulty|Corrupt|Misbehaviour'

.PHONY: faults
faults: deps ## The long tests with a kernel mount: faulty replicas, outages and partitions of 4 and 7, a million names
	BFSD_REQUIRE_KERNEL_CLIENT=1 BFSD_LONG_TESTS=1 go test -tags byzantine -timeout 30m -run 'FaultyReplica' -v ./cmd/bfsd
	BFSD_REQUIRE_KERNEL_CLIENT=1 BFSD_LONG_TESTS=1 go test -timeout 30m -run 'Outage|Partition|HugeDirectory|FailsOver|MountWaits' -v ./cmd/bfsd

CYCLES ?= 200

.PHONY: crash
crash: deps ## Kill random sets of replicas, up to all, under load on a kernel mount, CYCLES (200) times; damage every file of a store
	BFSD_REQUIRE_KERNEL_CLIENT=1 BFSD_CRASH_CYCLES=$(CYCLES) go test -timeout 120m -run 'KillingReplicas' -v ./cmd/bfsd
	BFSD_LONG_TESTS=1 go test -timeout 120m -run 'Damage|PowerCut|AnyByte' -v ./replica ./replica/store
	BFSD_LONG_TESTS=1 go test -timeout 120m -run 'DamagedStore' -v ./cmd/bfsd

.PHONY: conformance
conformance: ## The long form of the conformance tests, on a kernel mount: every case, and many random ones
	@.ci/deps fio stress-ng
	BFSD_REQUIRE_KERNEL_CLIENT=1 BFSD_LONG_TESTS=1 go test -timeout 60m -v ./internal/conformance

.PHONY: programs
programs: ## git, make, sqlite, tar, rsync, find, fio, stress-ng and rm -r of 100,000 files on a kernel mount of four replicas and on a local file system, compared
	@.ci/deps fio stress-ng
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

# Each of these takes less than eight minutes on a quiet machine of two cores. Leave it alone meanwhile.
.PHONY: bench
bench: bench-andrew bench-disk bench-postmark bench-sequential bench-faults bench-wan bench-report ## All benchmarks with files, and the report; install the other servers before with make bench-deps

.PHONY: bench-andrew
bench-andrew: ## The Andrew benchmark through the kernel client: bfs, plain NFS servers in memory
	go run ./bench/andrew --targets bfs,plain,go-nfs,ganesha-mem,knfsd --runs $(RUNS) --out $(OBS)/andrew

.PHONY: bench-disk
bench-disk: ## The same with everything on disk
	go run ./bench/andrew --durability disk --targets bfs,plain,go-nfs,ganesha-vfs,knfsd-ext4 --runs $(RUNS) --out $(OBS)/andrew-disk

.PHONY: bench-postmark
bench-postmark: ## Many small files, through the kernel client
	go run ./bench/andrew --workload postmark --targets bfs,plain,go-nfs,ganesha-mem,knfsd --runs $(RUNS) --out $(OBS)/postmark

.PHONY: bench-sequential
bench-sequential: ## A large file, through the kernel client and the library client
	go run ./bench/andrew --workload sequential --targets bfs,plain,go-nfs,ganesha-vfs,knfsd --runs $(RUNS) --out $(OBS)/sequential-kernel
	go run ./bench/andrew --workload sequential --targets bfs,plain,go-nfs,ganesha-vfs,knfsd --client library --runs $(RUNS) --out $(OBS)/sequential-library

.PHONY: bench-faults
bench-faults: ## The Andrew benchmark while replicas crash, stop, lie, are slow, come back
	go run ./bench/andrew --faults all --targets bfs,plain --scale 4 --runs 3 --out $(OBS)/faults

.PHONY: bench-wan
bench-wan: ## An estimate of latency around the world, in the simulator
	go run ./bench/wan --out $(OBS)/wan

.PHONY: bench-report
bench-report: ## The page of all that was measured, null operations included: observations/report.html
	go run ./bench/report --out $(OBS)/report.html $(addprefix $(OBS)/,andrew andrew-disk postmark sequential-kernel sequential-library faults null wan)

.PHONY: bench-quick
bench-quick: ## Do the benchmarks and the report work? A few seconds, no figures
	go run ./bench/andrew --quick --client library --faults none,crashed-primary --targets bfs,plain --out $(OBS)/quick/andrew
	go run ./bench/andrew --quick --client library --workload sequential --targets bfs,plain --out $(OBS)/quick/sequential
	go run ./bench/wan --f 1 --calls 10 --out $(OBS)/quick/wan
	go run ./bench/report --out $(OBS)/quick/report.html $(addprefix $(OBS)/quick/,andrew sequential wan)

.PHONY: bench-deps
bench-deps: ## Install the other NFS servers that the Andrew benchmark compares with (Debian packages; as root or with sudo)
	@.ci/bench-deps

RECOVERY_MIB ?= 1024

.PHONY: bench-recovery
bench-recovery: ## Restart of a replica with 1 GiB, and state transfer of 1 GiB to an empty one while users work; what the log costs (RECOVERY_MIB=64: short)
	BFSD_REJOIN_MIB=$(RECOVERY_MIB) go test -timeout 60m -run '^$$' -bench 'Recovery' -benchtime 3x ./cmd/bfsd
	BFSD_REJOIN_MIB=$(RECOVERY_MIB) go test -timeout 60m -run '^$$' -bench 'Load|StateTransfer' -benchtime 3x ./internal/fsservice
	go test -timeout 60m -run '^$$' -bench 'Checkpoint' ./replica/store

.PHONY: bench-null
bench-null: ## Null operations: groups beside an unreplicated server, optimisations off and on, view change, checkpoints
	go run ./bench/null

.PHONY: clean
clean: ## Remove what was built (not the data directory)
	rm -rf bin
