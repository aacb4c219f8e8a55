# EFS. `make help` lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help
BIN := bin
CMDS := efs-server efsctl efs efsc efs-bench efs-recover
VERSION := $(shell git describe --tags --always --dirty --abbrev=12 2>/dev/null || echo devel)
LDFLAGS := -s -w -X github.com/efs-project/efs/internal/version.Version=$(VERSION)
FUZZTIME ?= 30s
CGO ?= 0
TAGS ?=
DIST := dist
EPOCH := $(or $(SOURCE_DATE_EPOCH),$(shell git log -1 --format=%ct 2>/dev/null),0)
PREFIX ?= /usr/local
UNITS ?= $(PREFIX)/lib/systemd/system

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build the binaries into bin/ (static, without cgo; CGO=1 TAGS=pkcs11 for HSMs)
	@mkdir -p $(BIN)
	CGO_ENABLED=$(CGO) go build -trimpath -tags '$(TAGS)' -ldflags '$(LDFLAGS)' -o $(BIN)/ $(addprefix ./cmd/,$(CMDS))

.PHONY: man
man: build ## manual pages (bin/share/man) and completion scripts (bin/share/completions)
	@rm -rf $(BIN)/share
	@for c in $(CMDS); do env -i PATH="$$PATH" $(BIN)/$$c __manual $(BIN)/share; done

.PHONY: completions
completions: man ## the same: both come from the commands

.PHONY: install
install: man ## install below PREFIX (/usr/local), DESTDIR before it: binaries, manual, completion, units
	@DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' UNITS='$(UNITS)' BIN='$(BIN)' scripts/install $(CMDS)

.PHONY: dist
dist: ## the archives of a release for six platforms, with SBOMs and SHA256SUMS (VERSION=v1.2.3)
	@rm -rf $(DIST)
	go run ./internal/dist -out $(DIST) -version '$(VERSION)' -time $(EPOCH) $(DISTFLAGS)

.PHONY: dist-check
dist-check: ## build a release twice, from nothing and elsewhere, and compare every byte (an hour on two cores)
	@scripts/dist-check $(DISTFLAGS)

.PHONY: demo
demo: ## the main job on real files: store, read back, look at the disk, tamper
	@scripts/deps demo
	@$(MAKE) --no-print-directory build
	@scripts/demo

.PHONY: run
run: build ## a server on https://localhost:8443 with a root of its own in ./run
	@scripts/run

.PHONY: test
test: ## every test, with the race detector
	@scripts/deps test
	@scripts/test

.PHONY: soak
soak: ## the long tests: 1,000 crash rounds, 10^9 contents placed, memory under 16 uploads of 1 GiB
	@scripts/deps test
	EFS_CRASH_ROUNDS=1000 go test -count=1 -timeout 6h -v ./test/crash
	EFS_PLACEMENT=1000000000 go test -count=1 -v -run Scatter ./internal/blob/dir
	EFS_MEMORY_SOAK=1 go test -count=1 -timeout 2h -v ./test/memory

.PHONY: bench
bench: ## EFS beside MinIO and nginx on this machine, some 20 minutes; BENCH=-quick takes 3
	@scripts/deps bench
	@$(MAKE) --no-print-directory build
	@scripts/bench $(BENCH)

.PHONY: bench-scale
bench-scale: ## growth to 11 million files: rates, pages, index, memory (30 min, 45 GiB); SCALE='...' for less
	@$(MAKE) --no-print-directory build
	@scripts/bench-scale $(SCALE)

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME (30s) each
	@scripts/fuzz $(FUZZTIME)

.PHONY: lint
lint: ## gofmt, go vet, staticcheck
	@scripts/lint
