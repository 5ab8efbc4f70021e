# Targets of one to three lines; logic belongs in Go or in test/.
GO      ?= go
PKG     ?= ./...
RUN     ?= .
FUZZTIME ?= 30s
ROUNDS  ?= 10
BEDS    ?= nfs4 nfs3 nfs smb gluster power drives
OUT     ?= bin/shoal
PLATFORMS = linux/amd64 linux/arm64 linux/arm darwin/arm64 windows/amd64
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
export CGO_ENABLED = 0

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: build ## Build, and serve ~/shoal-data on 127.0.0.1:9000 with printed credentials
	bin/shoal server

.PHONY: build
build: ## Build bin/shoal
	$(GO) build -ldflags "-s -w -X main.version=$(VERSION)" -o $(OUT) ./cmd/shoal

.PHONY: all-platforms
all-platforms: ## Build for every platform that is promised
	set -e; for t in $(PLATFORMS); do \
		echo $$t; GOOS=$${t%/*} GOARCH=$${t#*/} $(GO) build -o /dev/null ./cmd/shoal; done

.PHONY: platforms
platforms: ## Look that the sources compile for these platforms, in seconds
	cd internal/tools && $(GO) run ./typecheck $(CURDIR) ./cmd/shoal $(PLATFORMS)

.PHONY: images
images: ## Build the images of all platforms with Docker, and try them (IMAGES=dir keeps them)
	test/images

.PHONY: test
test: ## Run the tests of the packages (PKG=./nasfs RUN=TestPut to narrow)
	$(GO) test -timeout 15m -run '$(RUN)' $(PKG)

.PHONY: test-arm
test-arm: ## Run short tests as on a Raspberry Pi, whose words have 32 bits (needs qemu-user-static)
	GOARCH=arm GOARM=7 $(GO) test -short -timeout 60m -exec qemu-arm-static -run '$(RUN)' $(PKG)

.PHONY: race
race: ## Run the tests of the packages, shorter, with the race detector (needs a C compiler)
	CGO_ENABLED=1 $(GO) test -timeout 20m -race -short -run '$(RUN)' $(PKG)

.PHONY: soak
soak: ## Run the random tests with new seeds: ROUNDS times, and 5000 * ROUNDS fault schedules
	$(GO) test -timeout 0 -count $(ROUNDS) -run '$(RUN)' ./nasfs/... ./internal/lock ./internal/object/...
	$(GO) test -timeout 0 ./raftlock -run 'FaultSchedules$$' -seed $$(date +%s) -seeds $$((5000 * $(ROUNDS)))
	$(GO) test -timeout 0 ./raftlock/protocol -run NoSchedule -seed $$(date +%s) -seeds $$((5000 * $(ROUNDS)))

.PHONY: check
check: documents lint ## Documents, format, vet, linters and import boundaries
	$(GO) mod tidy -diff
	cd test && $(GO) mod tidy -diff && $(GO) vet ./...

.PHONY: documents
documents: ## Look that each package has its DESIGN.md
	@set -e; for d in $$(find . -name '*.go' -not -path './test/*' -exec dirname {} \; | sort -u); do \
		test -f $$d/DESIGN.md || { echo "$$d has no DESIGN.md: see CONTRIBUTING.md"; exit 1; }; done

.PHONY: lint
lint: bin/golangci-lint
	bin/golangci-lint run --allow-parallel-runners ./...
	$(GO) vet ./...

bin/golangci-lint: internal/tools/go.mod
	cd internal/tools && GOBIN=$(CURDIR)/bin $(GO) install tool

.PHONY: fmt
fmt: bin/golangci-lint ## Format the code
	bin/golangci-lint fmt ./...

.PHONY: fuzz
fuzz: ## Run each fuzz target for FUZZTIME (where an input is long, shortening it could take all of that)
	set -e; for f in $$(grep -rlE '^func Fuzz' --include='*_test.go' internal nasfs gateway raftlock erasure); do \
		for n in $$(grep -oE '^func Fuzz[A-Za-z0-9]+' $$f | cut -c6-); do \
			$(GO) test ./$$(dirname $$f) -run '^$$' -fuzz "^$$n$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1s; done; done

.PHONY: bench
bench: ## Run the Go benchmarks
	$(GO) test -run '^$$' -bench . -benchmem $(PKG)

.PHONY: e2e
e2e: build ## Real clients against the real binary (test/run installs them)
	test/run quick

.PHONY: e2e-all
e2e-all: build ## Real clients, the long way: 1 GiB objects, every client
	test/run full

.PHONY: e2e-mounts
e2e-mounts: build ## Gateways on real NFS, SMB and GlusterFS mounts, and disks that fail, in User-Mode Linux (BEDS=nfs4 for one kind)
	test/beds/run $(BEDS)

.PHONY: e2e-nfs
e2e-nfs: build ## The short form of e2e-mounts, on NFSv4.2: a minute or two
	test/beds/short

.PHONY: ci
ci: check platforms test race e2e e2e-nfs ## Everything that must pass before a change lands
