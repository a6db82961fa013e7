# Every target sets itself up: Python 3.11 and make are enough. VENV may point to an environment elsewhere.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: trainium4 test quick check wheel-test slurm-test docs golden questions bench bench-explorer bench-scale bench-speed bench-witness bench-yardstick faults nightly lock licences audit clean

trainium4: $(VENV)/.run
	$(BIN)/dse optimize sweeps/trainium4.toml

# types are checked at run time but where whole studies are solved: there it takes a third of the time and finds nothing more
# slow tests go three at a time on two cores, because some wait for processes of their own
# a test that waits for ever ends the run (pyproject.toml has its time): xdist would begin it again in one worker after another
# COVER is more for the fast tests: .ci/run has them measure the lines and branches they reach, which takes half as long again
test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist loadfile --max-worker-restart 0 -m "not slow" --durations=20 $(COVER)
	$(BIN)/python -m pytest -n 3 --dist loadfile --max-worker-restart 0 -m slow --durations=20 -o addopts=--import-mode=importlib
	$(BIN)/python -m pytest -n 2 -q tests/unit/lowering --jaxtyping-packages=dse.lowering,runtime_types.strict

# all but the tests that solve whole studies
quick: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

check: $(VENV)/.dev
	$(BIN)/ruff format --check dse tests
	$(BIN)/ruff check dse tests
	$(BIN)/pyright --pythonpath $(BIN)/python dse
	$(BIN)/lint-imports

# wheel and sdist, built, installed outside the repository and asked
wheel-test: $(VENV)/.dev
	tests/package/try_package.sh $(BIN)

# the Slurm recipe on a Slurm of one node, started here: as root, after apt-get install slurm-wlm munge
slurm-test: $(VENV)/.dev
	tests/package/try_slurm.sh $(BIN)

# the documentation site in build/docs, offline; a warning is an error
docs: $(VENV)/.docs
	rm -rf build/docs
	$(BIN)/python docs/examples.py
	$(BIN)/python docs/generate.py build/docs/source
	$(BIN)/python -m sphinx -q -W --keep-going -c docs -j 2 build/docs/source build/docs/html

# runs go to runs/; answers that ship are written only by the two targets below
SHIP := --results results

# every committed answer anew; say in CHANGELOG.md which numbers moved, and why
golden: $(VENV)/.dev
	$(BIN)/dse optimize sweeps/trainium4.toml $(SHIP)
	cp results/trainium4/chip.toml sweeps/chips/trainium4_design.toml
	for name in trainium4_mean_power trainium4_announced trainium4_cost trainium4_serving; do \
	    $(BIN)/dse optimize sweeps/$$name.toml --seconds 240 $(SHIP) || exit 1; done
	for name in trainium4_budget trainium_generations sram_vs_hbm scaleup_domain; do \
	    $(BIN)/dse sweep sweeps/$$name.toml --fresh $(SHIP) || exit 1; done
	$(BIN)/dse backtest $(SHIP)
	for kind in training inference kernels collectives; do \
	    $(BIN)/dse validate --kind $$kind $(SHIP) && $(BIN)/dse validate --kind $$kind --leave-one-out $(SHIP) || exit 1; done
	for kind in training inference; do $(BIN)/dse validate --kind $$kind --leave-generation-out $(SHIP) || exit 1; done
	$(BIN)/dse serve trainium2,trainium3 gpt-oss-120b --tpot 20ms --weights mxfp4 $(SHIP)
	$(BIN)/dse front sweeps/trainium4.toml --metrics delivered_time,package_cost --points 30 --no-figures $(SHIP)
	$(BIN)/dse risk sweeps/trainium4.toml --samples 400 --seconds 900 --no-figures $(SHIP)
	$(BIN)/dse explore sweeps/trainium4.toml --export results/trainium4/explorer.html $(SHIP)

# every question with its sides, and the page that tells them
questions: $(VENV)/.dev
	$(BIN)/dse questions --seconds 120 --page docs/questions.md $(SHIP)

# every committed answer against what is computed here and now
check-golden: $(VENV)/.dev
	DSE_GOLDEN=1 $(BIN)/python -m pytest -n 2 tests/golden

# against pymoo and Optuna, which nothing else needs
bench-explorer: $(VENV)/.dev
	$(INSTALL) pymoo==0.6.2 optuna==5.0.0
	$(BIN)/python tests/bench/bench_explorer.py

# ten million points in process, over Dask and as an array job; writes docs/scale.md
bench-scale: $(VENV)/.dev
	$(BIN)/python tests/bench/bench_scale.py --write docs/scale.md

# what commands cost, cold and warm, with peak memory; writes docs/speed.md
bench-speed: $(VENV)/.dev
	$(BIN)/python tests/bench/bench_speed.py --write docs/speed.md

# optimum, prices and infeasibility beside an independent conic solver; writes docs/witness.md
bench-witness: $(VENV)/.dev
	$(BIN)/python tests/bench/bench_witness.py --write docs/witness.md

# 4.7 million designs around an A100, all of them and by proof; writes docs/yardstick.md
bench-yardstick: $(VENV)/.dev
	$(BIN)/python tests/bench/bench_yardstick.py --write docs/yardstick.md

# every fault on purpose, twelve kills of each kind; writes docs/faults.md
faults: $(VENV)/.dev
	$(BIN)/python -m tests.faults 12 --write docs/faults.md

# what takes hours: ten thousand broken files of each kind, two hundred random studies; no test is ended by the clock, and
# types are not checked at run time where ten thousand files are read
NIGHT := -o faulthandler_timeout=0
nightly: $(VENV)/.dev
	DSE_RANDOM_STUDIES=200 $(BIN)/python -m pytest -n 2 $(NIGHT) tests/unit/optimize/test_random_studies.py \
	    tests/unit/optimize/test_known_answers.py
	DSE_GOLDEN=1 $(BIN)/python -m pytest -n 2 $(NIGHT) tests/unit/optimize/test_prices.py
	$(BIN)/python tests/bench/bench_witness.py
	DSE_CASES=10000 $(BIN)/python -m pytest -n 2 $(NIGHT) -o addopts=--import-mode=importlib \
	    tests/property/test_user_files.py tests/unit/explore/test_risk.py

# pinned requirements with hashes, from pyproject.toml; pins stay where they may: UPGRADE=--upgrade moves them all
LOCK := $(VENV)-lock
COMPILE := $(LOCK)/bin/uv pip compile --quiet pyproject.toml --python-version 3.11 --generate-hashes --no-header \
    --no-annotate $(UPGRADE)
lock:
	$(PYTHON) -m venv $(LOCK)
	$(LOCK)/bin/python -m pip install --quiet --disable-pip-version-check uv==0.13.9
	$(COMPILE) --extra front --extra explore --extra sweep --extra build -o requirements.txt
	$(COMPILE) --extra dev --extra build -c requirements.txt -o requirements-dev.txt
	$(COMPILE) --extra docs -c requirements-dev.txt -o requirements-docs.txt

# who owns what we stand on: writes docs/licences.md
licences: $(VENV)/.dev
	$(BIN)/python .ci/licences.py requirements.txt docs/licences.md

# known holes in what we stand on; asks a public database, so that it is never part of a test; a package that the database does
# not know is an error, so that success means that every one was looked up
audit:
	$(PYTHON) -m venv $(VENV)-audit
	$(VENV)-audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit
	$(VENV)-audit/bin/pip-audit --strict --disable-pip --require-hashes -r requirements-dev.txt

bench: $(VENV)/.dev
	$(BIN)/python tests/bench/bench_step.py
	$(BIN)/python tests/bench/bench_interior.py
	$(BIN)/python tests/bench/bench_calculon.py
	$(BIN)/python tests/bench/bench_decode.py
	$(BIN)/python tests/bench/bench_serving.py
	$(BIN)/python tests/bench/bench_sweep.py
	$(BIN)/python tests/bench/bench_verify.py
	$(BIN)/python tests/bench/bench_page.py

$(VENV)/.run: requirements.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL) -r requirements.txt
	$(INSTALL) --no-deps --no-build-isolation -e .
	touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.run
	$(INSTALL) -r requirements-dev.txt
	touch $@

$(VENV)/.docs: requirements-docs.txt $(VENV)/.run
	$(INSTALL) -r requirements-docs.txt
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis
