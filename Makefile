# The tasks of the project. `make` alone lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

# The products are pure Go; -buildvcs=false because git refuses a checkout that another user owns, and VERSION says it anyway.
GOBUILD := CGO_ENABLED=0 go build -buildvcs=false -trimpath -ldflags '-s -w -X main.version=$(VERSION)'

# The race detector runs where goroutines share memory of ours. Packages that pull in the embedded database are left out:
# compiling that with the detector alone takes minutes of the 15 that the whole run has. So is protocol: it shares no state, and
# its tests bound what decoding allocates, which the detector changes.
RACE := ./drivers/... ./agent/... \
	$(patsubst %,./cloud/%/...,ask broker bus console contract gateway receiver stream)

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Where the programs go; a test of its own builds elsewhere.
BIN ?= bin

.PHONY: build
build: ## the three programs, into bin/
	$(GOBUILD) -o $(BIN)/tidemark-agent ./agent/cmd/tidemark-agent
	$(GOBUILD) -o $(BIN)/tidemark-cloud ./cloud/cmd/tidemark-cloud
	$(GOBUILD) -o $(BIN)/tidemark ./cloud/cmd/tidemark

.PHONY: demo
demo: ## a cloud and two sites on this machine; Ctrl-C ends all of it
	@go build -buildvcs=false -o build/tidemark-demo ./test/demo
	@exec build/tidemark-demo

.PHONY: setup
setup: ## install the Debian packages that the tests need
	@test/setup.sh

.PHONY: test
test: setup ## every test, with 10 crash rounds and the model; the log is build/test.log
	@RACE='$(RACE)' test/run.sh

.PHONY: lint
lint: build/tools/golangci-lint ## gofmt, go vet, staticcheck and the house rules
	@failed=0; bad=$$(git ls-files -co --exclude-standard '*.go' | xargs -r gofmt -l); \
	if [ -n "$$bad" ]; then echo "gofmt would change:"; echo "$$bad"; failed=1; fi; \
	build/tools/golangci-lint run --timeout 10m ./... || failed=1; exit $$failed

# A go.mod of their own keeps the tools' dependencies out of the products'.
build/tools/golangci-lint: test/tools/go.mod test/tools/go.sum
	@cd test/tools && CGO_ENABLED=0 go build -buildvcs=false -trimpath -ldflags '-s -w' -o ../../build/tools/ tool
	@touch $@

.PHONY: crash
ROUNDS ?= 100
crash: setup ## 100 rounds of kills over a bad link (ROUNDS=n for more or fewer)
	go test -count=1 -timeout 60m -v ./test/crash -args -rounds $(ROUNDS)

.PHONY: bench
bench: setup ## measure ours and the peer on the same data; prints a table and writes build/bench.json
	@mkdir -p build
	go run -buildvcs=false ./test/bench

.PHONY: fuzz
FUZZTIME ?= 60s
fuzz: ## each fuzz target for FUZZTIME (60s)
	@git ls-files -co --exclude-standard '*_test.go' | xargs grep -HoE '^func Fuzz[A-Za-z0-9_]+' | sort -u | while IFS=: read -r file target; do \
		echo "fuzz $$(dirname $$file) $${target#func }"; \
		go test -run '^$$' -fuzz "^$${target#func }\$$" -fuzztime $(FUZZTIME) "./$$(dirname $$file)" </dev/null; \
	done

.PHONY: clean
clean: ## remove what the other targets made
	rm -rf bin build
