# Two commands are all a newcomer needs: `make run` and `make test`. `make bench` measures.

SHELL := /bin/bash
export GOFIPS140 := certified
export GOFLAGS := -buildvcs=false -trimpath
export CGO_ENABLED := 1

.PHONY: build run reset test bench fmt clean preflight

build: ## the one binary, server and command line, into bin/
	@go build -o bin/conclave ./app/cmd/conclave

preflight:
	@.ci/preflight run

run: preflight build ## a demo instance in ./var: tells the story, then stays up
	@bin/conclave demo --data-dir var

reset: preflight build ## the demonstration from its beginning
	@bin/conclave demo --data-dir var --reset

test: ## everything CI checks
	@.ci/preflight test
	@.ci/test

bench: preflight ## the floor and the product in one run; writes docs/benchmarks.md's table to standard output
	@.ci/bench

fmt:
	@gofmt -w $$(git ls-files '*.go')

clean:
	@rm -rf bin var
