# Two commands: `make run` sets everything up inside this folder and runs the notebook; `make test` runs every check.
PYTHON ?= python3
DATASET ?= demo
export DATASET

PREPARE = @command -v $(PYTHON) >/dev/null 2>&1 || { \
	echo "$(PYTHON) is missing. Debian/Ubuntu: sudo apt install python3 python3-venv     macOS: brew install python"; exit 1; }; \
	$(PYTHON) setup/prepare.py

.DEFAULT_GOAL := help
.PHONY: help run test test-browser test-export lab notebook page-runtime run-esc10 own-data unknown five-folds curve inner-folds pretrain ablation first-recipe check-released bench check-gpu bench-notebook bench-kernel-starts setup fmt clean

help: ## Show this list
	@grep -E '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /  make \1|/' | awk -F'|' '{printf "%-22s %s\n", $$1, $$2}'
	@echo
	@echo "  DATASET=demo|esc10|esc50|<folder, archive path or URL>  which data run and lab use (default: demo, needs no download)"
	@echo "  ESC10_DIR=<folder>      recordings with a make_archive.py that packs them, in place of the download of ESC-50"
	@echo "  STUDY_DATASET=esc50     what five-folds and first-recipe train on (default: esc10)"
	@echo "  CUDA=1                  libtorch with CUDA (Linux, several GB)"
	@echo "  LIBTORCH=<folder>       an existing libtorch 2.13.0 instead of one under .tools"
	@echo "  CHROMIUM=<program>      the browser of test-browser, where it is not found by itself"
	@echo "  PYTHON=<program>        another Python (3.10 or newer)"

run: ## Set up what is missing, run the whole notebook, write an executed copy and an HTML page
	$(PREPARE) run

test: ## Format, lints, Rust tests, the runner's tests, the notebook on the demo data
	$(PREPARE) test

test-export: ## Load exported networks in Python as the README says, compare logits (PyTorch and transformers, several GB)
	$(PREPARE) test-export

test-browser: ## The exported page, and the notebook worked in JupyterLab, by way of an installed Chromium; screenshots in target/browser
	$(PREPARE) test-browser

lab: ## Open the notebook in JupyterLab, kernel ready
	$(PREPARE) lab

notebook: ## Like run, and store the outputs in the notebook itself
	$(PREPARE) notebook

page-runtime: ## Build what runs in the page that `export --page` makes, after a change of front end or network
	$(PREPARE) page-runtime

run-esc10: ## Run the notebook on the recordings that ESC10_DIR/make_archive.py packs, served as an archive on this machine
	$(PREPARE) run-esc10

own-data: ## What the default path makes of data sets as people have them, made from ESC-10's recordings, beside settings by hand (ESC10_DIR; two hours)
	$(PREPARE) own-data

unknown: ## How well sounds of a class left out of training are told to be none of those known (ESC10_DIR; half an hour)
	$(PREPARE) unknown

five-folds: ## Train and score the good preset on every fold of ESC-10 with two seeds, replace the released model (three quarters of an hour)
	$(PREPARE) five-folds

curve: ## Accuracy over training time: every fold with the recipes that RECIPES names, two seeds (a quarter of an hour for each 90 epochs of the good preset)
	$(PREPARE) curve

inner-folds: ## Compare the recipes that RECIPES names without a look at the folds that judge them (a quarter of an hour for each 180 epochs of the good preset)
	$(PREPARE) inner-folds

pretrain: ## Make what networks may start from again, by sounds made by formulas, in data/models (half an hour)
	$(PREPARE) pretrain

ablation: ## The good preset's first version without each of its ingredients, on the fold that choices are scored on (an hour)
	$(PREPARE) ablation

first-recipe: ## The good preset's first version on every fold (an hour)
	$(PREPARE) first-recipe

check-released: ## Score the released model on ESC-10's fold 1 again (downloads ESC-50 once), beside what its sheet says
	$(PREPARE) check-released

bench: setup ## Measure speed beside the peers (PyTorch, librosa, several GB)
	@. .tools/env.sh && .tools/venv/bin/python bench/run.py

check-gpu: setup ## What a GPU does, into target/gpu-report.md (CUDA=1; six minutes; PEER_PYTHON names one with PyTorch for the card)
	@. .tools/env.sh && $${PEER_PYTHON:-.tools/venv/bin/python} bench/gpu.py

bench-notebook: setup ## Measure how long the notebook lets a person wait, cell by cell
	@. .tools/env.sh && .tools/venv/bin/python bench/run.py notebook

bench-kernel-starts: setup ## Count how often the kernel does not listen: 100 starts at rest, 100 with all cores busy (half an hour)
	@. .tools/env.sh && .tools/venv/bin/python bench/kernel_starts.py

setup: ## Set up without running anything
	$(PREPARE) setup

fmt: ## Format the Rust sources
	cargo fmt

clean: ## Remove what was built and set up; data/ stays
	rm -rf target .tools
