# Flovyn Server. `make help` says what there is.
#
# Building and testing need Go and nothing of ours; generating, linting and
# verifying need the tools that `make tools` pins and builds into .tmp/bin.

SHELL   := bash
BIN     := $(CURDIR)/.tmp/bin
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -X main.version=$(VERSION)
BUF_VERSION := 1.75.0

export PATH := $(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help build dev demo test test-race oracle torture soak upgrade lint fmt generate verify published web bench bench-compare bench-parts deploy-check ci tools clean

help: ## print this list
	@awk -F ': .*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build bin/flovyn-server and bin/flovyn
	go build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/flovyn-server ./cmd/flovyn

dev: build ## run a server with its own database and an example workflow
	bin/flovyn-server dev --demo

demo: build ## run the example workflow once, from start to end, and stop
	bin/flovyn-server dev --demo --exit-when-done --temporary --http-port 0 --grpc-port 0

test: ## run every test, with the race detector; needs only Go
	@tools/prepare-tests.sh
	@race=$$(command -v cc gcc clang | head -1); set -x; go test $${race:+-race} ./...

test-race: ## run every test three times in random order, to find races and leaks
	@tools/prepare-tests.sh
	go test -race -count=3 -shuffle=on ./...

oracle: SEEDS ?= 1000
oracle: OPS ?= 200
oracle: ## compare the engine with its model for long: SEEDS=1000 OPS=200, and on while new behaviour appears
	@tools/prepare-tests.sh
	go test -timeout 0 -count=1 -v -run TestDifferential ./internal/oracle -args -seeds $(SEEDS) -ops $(OPS) -quiet 20000

torture: DURATION ?= 20m
torture: SEED ?= 0
torture: ## kill, freeze, cut off and starve servers, workers and the database: DURATION=20m SEED=0
	@tools/prepare-tests.sh
	tools/skewed-clock.sh .tmp/clock
	go test -timeout 0 -count=1 -v -overlay .tmp/clock/overlay.json -run TestTorture ./internal/torture -args -torture $(DURATION) -seed $(SEED)

soak: DURATION ?= 1h
soak: ## run a server under a bounded load and plot what it consumes: DURATION=1h
	@tools/prepare-tests.sh
	go test -timeout 0 -count=1 -v -run TestSoak ./internal/torture -args -soak $(DURATION) \
	  -soak-csv $(CURDIR)/.tmp/soak.csv -soak-svg $(CURDIR)/docs/reliability-soak.svg

upgrade: ## run the server of the previous release and this one together on one database
	@tools/prepare-tests.sh
	go test -timeout 20m -count=1 -v -tags upgrade -run TestUpgrade ./internal/e2e

lint: $(BIN)/golangci-lint ## vet, lint, and check the formatting
	go vet ./...
	golangci-lint run
	golangci-lint fmt --diff

fmt: $(BIN)/golangci-lint $(BIN)/buf ## format Go and protos
	golangci-lint fmt
	buf format -w proto

generate: $(BIN)/buf $(BIN)/sqlc protoc-plugins third_party/proto ## generate code from protos and SQL
	buf generate
	sqlc generate

verify: $(BIN)/buf $(BIN)/sqlc protoc-plugins third_party/proto ## check generated code, proto style and compatibility
	@tools/verify.sh

web: $(BIN)/buf third_party/proto ## generate and build the client for browsers; needs npm
	@tools/web.sh

published: $(BIN)/buf third_party/proto ## declare the protos as they are now published: later ones must be compatible
	buf build proto --exclude-source-info -o proto/published.binpb

bench: build ## measure the whole product, a quarter of an hour; BENCH="--only workflows,cost" for parts
	@tools/prepare-tests.sh
	go build -trimpath -o bin/ ./cmd/flovyn-bench
	bin/flovyn-bench --json bin/bench.json $(BENCH)

bench-compare: build ## compare with an older revision in alternation: make bench-compare BASE=v0.1.0
	@tools/prepare-tests.sh
	go build -trimpath -o bin/ ./cmd/flovyn-bench
	rm -rf .tmp/base && mkdir -p .tmp/base && git archive $(BASE) | tar -x -C .tmp/base
	cd .tmp/base && go build -trimpath -o ../../bin/flovyn-server-base ./cmd/flovyn-server
	bin/flovyn-bench --base bin/flovyn-server-base --repeats 5 $(BENCH)

bench-parts: ## measure the engine and the policies alone; starts a durable database of its own
	@tools/prepare-tests.sh
	go test -run '^$$' -bench . -benchmem ./internal/engine ./internal/authz

bench-lists: ## measure lists among a million executions (minutes)
	@tools/prepare-tests.sh
	go test -run '^$$' -bench Lists -benchtime 10x -timeout 30m ./internal/search

deploy-check: ## check deploy/ with the programs that read it, as far as they are installed
	@tools/check-deploy.sh

ci: build test lint verify ## everything that must pass before a change is merged

tools: $(BIN)/buf $(BIN)/sqlc $(BIN)/golangci-lint protoc-plugins ## build the pinned tools into .tmp/bin (minutes, once)

clean: ## remove what was built, the tools too
	rm -rf bin .tmp third_party

# Each tool is a module of its own under tools/, so that no tool chooses the
# versions of the server's dependencies or of another tool's.

.PHONY: protoc-plugins
protoc-plugins: $(BIN)/protoc-gen-go $(BIN)/protoc-gen-connect-go $(BIN)/protoc-gen-comments

$(BIN)/protoc-gen-go: tools/protoc/go.mod
	go -C tools/protoc build -o $@ google.golang.org/protobuf/cmd/protoc-gen-go

$(BIN)/protoc-gen-connect-go: tools/protoc/go.mod
	go -C tools/protoc build -o $@ connectrpc.com/connect/v2/cmd/protoc-gen-connect-go

$(BIN)/protoc-gen-comments: tools/protoc/go.mod tools/protoc/protoc-gen-comments/main.go
	go -C tools/protoc build -o $@ ./protoc-gen-comments

# Without cgo sqlc parses with a wasm build of PostgreSQL's parser: slower by a
# second, and no C compiler is needed.
$(BIN)/sqlc: tools/sqlc/go.mod
	CGO_ENABLED=0 go -C tools/sqlc build -o $@ github.com/sqlc-dev/sqlc/cmd/sqlc

$(BIN)/golangci-lint: tools/golangci-lint/go.mod
	go -C tools/golangci-lint build -o $@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

# The npm package holds the same buf, built: seconds instead of minutes where
# there is npm.
$(BIN)/buf: tools/buf/go.mod
	@mkdir -p $(BIN)
	if command -v npm >/dev/null && \
	  npm install --silent --no-audit --no-fund --prefix .tmp/npm @bufbuild/buf@$(BUF_VERSION); then \
	  ln -sf ../npm/node_modules/.bin/buf $@; \
	else \
	  rm -f $@ && go -C tools/buf build -o $@ github.com/bufbuild/buf/cmd/buf; \
	fi

# Protos that others wrote come with checksums out of the Go module cache; they
# stay out of the repository.
PROTOVALIDATE := github.com/bufbuild/protovalidate@v1.2.2
GNOSTIC       := github.com/google/gnostic@v0.7.1
MODCACHE       = $(shell go env GOMODCACHE)

third_party/proto: Makefile
	go mod download $(PROTOVALIDATE) $(GNOSTIC)
	rm -rf $@ && mkdir -p $@/buf/validate $@/google/api
	cp $(MODCACHE)/$(PROTOVALIDATE)/proto/protovalidate/buf/validate/validate.proto $@/buf/validate/
	cp $(MODCACHE)/$(GNOSTIC)/cmd/protoc-gen-openapi/examples/google/api/{annotations,http}.proto $@/google/api/
	cp $(MODCACHE)/$(GNOSTIC)/third_party/google/api/httpbody.proto $@/google/api/
	chmod -R u+w $@
	touch $@
