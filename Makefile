# The front door. Everything is built by CMake (see CMakePresets.json); this names the ways in.
.DEFAULT_GOAL := help
.PHONY: help deps build debug run test bench bench-table fuzz soak lint format image clean
MAKEFLAGS += --no-print-directory

FUZZ_SECONDS ?= 60

help: ## what this Makefile does
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{ printf "  make %-11s %s\n", $$1, $$2 }' Makefile

deps: ## install the Debian packages that are missing
	@tools/deps run test

build: ## build/buntime
	@tools/deps run
	@cmake --preset release --log-level=WARNING
	@cmake --build --preset release

debug: ## build-debug/buntime, not optimised
	@tools/deps run
	@cmake --preset debug --log-level=WARNING
	@cmake --build --preset debug

run: build ## build, then serve ./plugins at http://localhost:8000
	@exec build/buntime serve

test: ## everything: C and Lua units, integration (ASan+UBSan, release), the image, lints
	@tools/deps run test
	@cmake --preset release --log-level=WARNING
	@cmake --preset asan --log-level=WARNING
	@cmake --build --preset release
	@cmake --build --preset asan
	@ctest --preset asan

bench: build ## compare with nginx, Bun and bare h2o (BENCH_SECONDS, BENCH_ROUNDS)
	@tools/deps bench
	@bench/run

bench-table: build ## bench/RESULTS.md: buntime beside its peers, five minutes on a quiet machine
	@tools/deps bench
	@bench/table bench/RESULTS.md

fuzz: ## each fuzzer for FUZZ_SECONDS (60)
	@tools/deps run test
	@cmake --preset fuzz --log-level=WARNING
	@cmake --build --preset fuzz
	@tools/fuzz $(FUZZ_SECONDS)

soak: build ## everything at once for SOAK_SECONDS (180), then everything has to be where it was
	@tools/deps run test
	@spec/soak/run

lint: ## layers, function length, stubs, clang, clang-format, luacheck
	@tools/deps run test
	@cmake --preset release --log-level=WARNING
	@ctest --preset release -L lint

format: ## clang-format every C file
	@find runtime spec bench cmake -name '*.[ch]' | xargs clang-format -i

image: ## the container image, with podman or docker
	@$$(command -v podman || command -v docker) build -t buntime:latest .

clean: ## remove everything built
	@rm -rf build build-*
