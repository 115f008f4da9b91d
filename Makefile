# Everything a newcomer needs; each target installs and builds what it uses, and only what has changed.
.DEFAULT_GOAL := help
.PHONY: help demo example test one faults faults-model faults-prepare faults-worker bench bench-quick site matrix lint lint-format lint-rules lint-unused build build-tests clean
MAKEFLAGS += --no-print-directory

# Set these on the command line: make test TESTS='use test/packages/harness.test.ts' FLAGS=--test-timeout=5000
TESTS ?=
TEST ?=
WATCH ?=
FLAGS ?=
NAME ?= quick-start
TIMELINE ?=
examples := $(filter-out worker-pool-task serverless-handler,$(basename $(notdir $(wildcard examples/*.ts))))

# Without install scripts: nothing here needs them, and npm may be told not to run them.
npm_ci := npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error > /dev/null

installed := node_modules/.installed
installed_peers := bench/node_modules/.installed
installed_site := site/node_modules/.installed
installed_matrix := matrix/node_modules/.installed
installed_tracer := test/support/tracing/datadog/node_modules/.installed
installed_projects := test/packages/projects/node_modules/.installed
built := dist/.built
built_tests := build/.built
# Folders too: their time changes when a file in them goes. "test/." because "test" is a target.
sources := $(shell find src/.)
test_sources := $(shell find $(addsuffix /.,$(wildcard test demo bench matrix examples)) \
  \( -name node_modules -o -name results \) -prune -o -print)

help: ## show what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: build-tests ## watch many tasks share one connection, and faults being caught; draws a timeline
	@node build/demo/demo.js $(TIMELINE)

example: build-tests ## run one of examples/, make example NAME=kysely
	@test -f build/examples/$(NAME).js || { echo "there is no example $(NAME); there are: $(examples)"; exit 2; }
	@node build/examples/$(NAME).js

test: build-tests $(installed_tracer) $(installed_projects) ## run all tests, on an own server or on the one that PG* variables name
	@node build/test/run.js $(FLAGS) $(TESTS)

# Types are for `make lint` and `make test`: here only what has changed is compiled, file by file.
one: $(installed) $(installed_tracer) $(installed_projects) ## run a test file or folder soon after a change, make one TEST=use; with WATCH=1 after each change
	@test -n '$(TEST)' || { echo 'which test? make one TEST=use'; exit 2; }
	@node scripts/transpile.js && node scripts/timeline-page.js && node scripts/es-wrappers.js && node scripts/prune.js dist src && node scripts/prune.js build .
ifeq ($(WATCH),)
	@node build/test/run.js $(FLAGS) $(TEST)
else
	@node scripts/transpile.js --watch & trap "kill $$!" EXIT; node build/test/run.js --watch $(FLAGS) $(TEST)
endif

faults: build-tests ## break everything that can break, and see that nothing is lost; FLAGS=--only=storm
	@node --enable-source-maps build/test/faults/faults.js $(FLAGS)

faults-model: build-tests ## explore 120,000 schedules of the turn, the settlement and the reconnect
	@MODEL_SCHEDULES=120000 MODEL_SESSIONS=400 node build/test/run.js $(FLAGS) model

faults-prepare: build-tests ## compare 10,000 random programs with and without prepared statements
	@PREPARE_PROGRAMS=10000 node build/test/run.js $(FLAGS) prepare-differential

bench: build-tests $(installed_peers) ## compare with other libraries and pgbench; FLAGS=--only=batch, --rounds=3, --profile
	@node --expose-gc build/bench/bench.js $(FLAGS)

bench-quick: build-tests $(installed_peers) ## the same with fewer and shorter rounds, in less than a minute
	@node --expose-gc build/bench/bench.js --quick $(FLAGS)

matrix: build-tests $(installed_tracer) $(installed_matrix) ## run all tests on each version of Node, PostgreSQL and pg, on Bun and Deno; FLAGS=--list, --only=node-24,bun
	@node build/matrix/matrix.js $(FLAGS) $(TESTS)

faults-worker: build-tests ## kill 1,000 workers at random moments; FLAGS='--kills=100 --seed=7'
	@node build/test/faults/worker-kills.js $(FLAGS)

site: $(installed) $(installed_site) ## build the documentation as web pages, to site/dist/; SITE_BASE=/below/ where it is not the root
	@node site/build.js

# Side by side, each with what it has found before: a file that has not changed is not looked at again.
bin := node_modules/.bin
cache := node_modules/.cache

lint: build-tests ## check formatting, types, lint rules, and that nothing is there which nobody uses
	@$(MAKE) -k -j3 lint-format lint-rules lint-unused

lint-format: $(installed)
	@$(bin)/prettier --check --log-level warn --cache --cache-strategy content .

lint-rules: build
	@$(bin)/oxlint

lint-unused: $(installed)
	@$(bin)/knip --no-progress --cache --cache-location $(cache)/knip

build: $(built) ## compile the package to dist/

build-tests: $(built_tests)

clean: ## remove everything that was made, installed packages included
	@rm -rf dist build site/dist site/build $(dir $(installed) $(installed_peers) $(installed_site) $(installed_matrix) $(installed_tracer) $(installed_projects))

$(installed): package.json package-lock.json
	@echo 'installing packages into node_modules (700 MB, a PostgreSQL server among them): about a minute' >&2
	@$(npm_ci)
	@touch $@

# What the library is compared with, and nothing else needs. Without it the comparison has fewer rows.
$(installed_peers): bench/package.json bench/package-lock.json
	@echo 'installing what the bench compares with' >&2
	@$(npm_ci) --prefix bench
	@touch $@

# VitePress and TypeDoc.
$(installed_site): site/package.json site/package-lock.json
	@echo 'installing VitePress and TypeDoc' >&2
	@$(npm_ci) --prefix site
	@touch $@

# Versions of Node, PostgreSQL and pg, Bun and Deno: half a gigabyte to fetch, so it says so.
$(installed_matrix): matrix/package.json matrix/package-lock.json matrix/.npmrc
	@echo 'fetching the versions to test on, about 400 MB' >&2
	@$(npm_ci) --prefix matrix
	@touch $@

# Datadog's tracer, which tests load. Most of it, in MB, are programs for what they do not use.
$(installed_tracer): test/support/tracing/datadog/package.json test/support/tracing/datadog/package-lock.json
	@echo 'installing a tracer for the tests' >&2
	@$(npm_ci) --prefix test/support/tracing/datadog --omit=optional
	@touch $@

# What users' projects are built with: bundlers, Jest, yarn. Each is tried with the package that users would get.
$(installed_projects): test/packages/projects/package.json test/packages/projects/package-lock.json
	@echo 'installing bundlers, Jest and yarn for the tests' >&2
	@$(npm_ci) --prefix test/packages/projects
	@touch $@

$(built): $(sources) tsconfig.json package.json scripts/es-wrappers.js scripts/prune.js $(installed)
	@echo 'compiling the package' >&2
	@npm run --silent build
	@touch $@

$(built_tests): $(test_sources) test/tsconfig.json $(built)
	@echo 'compiling the tests and examples' >&2
	@npm run --silent build:test
	@touch $@
