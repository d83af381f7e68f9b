# Lockfast: `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CACHE  := $(CURDIR)/.cache
LINT   := $(CACHE)/bin/golangci-lint-2.15.0
GO     := go
export CGO_ENABLED ?= 0
# HAS_CC sets $$cc and tries it, with the headers of the C library.
HAS_CC  = cc=$$($(GO) env CC) && printf '\043include <stdlib.h>\nint main(void){return 0;}\n' | $$cc -x c -o /dev/null - 2>/dev/null

.PHONY: help build build-libzstd demo test lint gen bench soak setup-demo setup-test setup-bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/lockfast
	$(GO) build -trimpath -o bin/lockfast ./cmd/lockfast

build-libzstd: ## build bin/lockfast-libzstd, which compresses with libzstd; needs a C compiler
	@$(HAS_CC) || { echo "$@ needs the C compiler $$cc, which is not there or does not work (Debian: apt install gcc libc6-dev)"; exit 1; }
	CGO_ENABLED=1 $(GO) build -trimpath -tags libzstd,netgo,osusergo -o bin/lockfast-libzstd ./cmd/lockfast

demo: setup-demo build ## back a real directory up, restore it, delete it: the main job in one minute
	bash scripts/demo.sh

test: setup-test build ## run every test; starts the servers that it needs
	$(GO) vet ./...
	$(GO) test -count=1 -timeout 20m ./...
	@if $(HAS_CC); then CGO_ENABLED=1 $(GO) test -count=1 -tags libzstd ./repo/pack ./repo/vector; \
	else echo "the codec with libzstd is not tested for lack of the C compiler $$cc"; fi

lint: $(LINT) ## format, vet, lint
	@out=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$out" ]; then echo "not formatted: $$out"; exit 1; fi
	$(LINT) run --timeout 10m ./...

gen: ## generate the wire code from the models in api/
	$(GO) run ./internal/gen

bench: setup-bench build ## measure against restic and borg, side by side
	$(GO) run ./bench
	$(GO) test -run '^$$' -bench API -benchtime 1x -timeout 30m ./bench

soak: setup-test build ## the long loops of crashes, faults, load and fuzzing
	bash scripts/soak.sh

setup-demo:
	@bash scripts/setup.sh demo

setup-test:
	@bash scripts/setup.sh test

setup-bench:
	@bash scripts/setup.sh bench

$(LINT):
	mkdir -p $(CACHE)/bin
	GOBIN=$(CACHE)/bin $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
	mv $(CACHE)/bin/golangci-lint $(LINT)

clean: ## remove what was built
	rm -rf bin $(CACHE)
