# minimixproxy. "make" alone prints the targets.
VENV ?= .venv
BIN = $(VENV)/bin
STAMP = $(VENV)/.installed
FUZZ_STAMP = $(VENV)/.installed-fuzz
BENCH_STAMP = $(VENV)/.installed-bench
TRIAL = $(BIN)/python tools/run_trial.py $(if $(JOBS),--jobs $(JOBS))
TESTS ?= tests

.PHONY: help venv system test unit one coverage lint demo run bench chaos fuzz mutants page-image clean dist-check deb deb-check

help:
	@echo "make system      Debian packages that the tests and the demo need (root or sudo)"
	@echo "make venv        virtual environment in $(VENV) with everything from PyPI"
	@echo "make test        all tests, with real Prosody and ejabberd; TESTS=tests.config.test_config for some (root is"
	@echo "                 wanted, and Debian packages, only if one of these needs a server), JOBS=4 at once"
	@echo "make unit        the tests that need neither servers nor Debian packages, in less than a minute"
	@echo "make one         a test, class or module by trial, in seconds; TEST=tests.wire.test_stanza"
	@echo "make coverage    which lines and branches the unit tests reach, and whether enough"
	@echo "make lint        mypy --strict, ruff, whether the files are formatted, hadolint"
	@echo "make demo        a narrated run against a Prosody of its own"
	@echo "make run         the same servers, left running for a browser (http://127.0.0.1:5280/) or a real client"
	@echo "make bench       measurements, twenty minutes; QUICK=1 for a few minutes; ONLY='forking memory';"
	@echo "                 PROSODY_MODULES=/path/to/prosody-modules; EARLIER=/path/to/another/version; WRITE=1 into the document, with figures and plots"
	@echo "make chaos       faults at random, then a proof; SEED=1 MINUTES=3 SERVER=prosody|ejabberd;"
	@echo "                 CLUSTER=3 for three nodes on hosts of their own, which are network namespaces (root),"
	@echo "                 upgraded meanwhile with EARLIER=/path/to/another/version"
	@echo "make fuzz        absurd input, on and on; MINUTES=10 SEED=1 ONLY='framing jid' WORKERS=2"
	@echo "make mutants     faults in the code, and which of them unit tests notice; SAMPLE=200 SEED=1 ONLY=minimixproxy/c2s,"
	@echo "                 or GUARDS=1: in what guards against intruders and loss; POSTGRESQL=1 with the tests that want it"
	@echo "make page-image  the picture of the operator's page in the documents, by Debian's chromium"
	@echo "make dist-check  wheel, sdist and editable installs, each in a fresh environment"
	@echo "make deb         a package for this Debian in dist/"
	@echo "make deb-check   the package in a bare Debian 12: installed, used, upgraded, removed, purged (root)"
	@echo "make clean       remove everything made here"

venv: $(STAMP)

$(STAMP): setup.cfg pyproject.toml tools/find-python
	test -x $(BIN)/python || { python=$$(tools/find-python) && "$$python" -m venv $(VENV); }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip setuptools
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,lint]'
	touch $@

system:
	tools/install-system

test: venv
	$(TRIAL) --install $(TESTS)

unit: venv
	$(TRIAL) --unit $(TESTS)

coverage: venv
	$(BIN)/coverage erase
	MINIMIXPROXY_TEST_PART=1 $(BIN)/coverage run tools/run_trial.py --unit $(TESTS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --skip-covered --sort=cover

one: venv
	$(BIN)/trial --reactor=asyncio --temp-directory=_trial_temp_one $(TEST)

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/hadolint Containerfile

page-image: venv
	$(BIN)/python tools/draw_web_page.py

demo: system venv
	$(BIN)/python -m demo

run: system venv
	$(BIN)/python -m demo --keep-running

$(BENCH_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	touch $@

bench: system $(BENCH_STAMP)
	BENCH_QUICK=$(QUICK) $(BIN)/python -m bench $(if $(PROSODY_MODULES),--prosody-modules $(PROSODY_MODULES)) \
		$(if $(EARLIER),--earlier $(EARLIER)) $(if $(WRITE),--output docs/benchmarks.md) $(ONLY)

dist-check: venv
	$(BIN)/python tools/dist_check.py

deb: venv
	tools/install-system debhelper dpkg-dev fakeroot python3-venv
	$(BIN)/python tools/build_deb.py

deb-check: venv
	tools/install-system debhelper dpkg-dev fakeroot python3-venv lintian debootstrap systemd-container
	$(BIN)/python tools/deb_check.py $(DEB_CHECK)

chaos: system venv
	$(if $(CLUSTER),tools/install-system libfaketime)
	$(BIN)/python -m chaos $(if $(SEED),--seed $(SEED)) --minutes $(or $(MINUTES),3) --server $(or $(SERVER),prosody) \
		$(if $(CLUSTER),--cluster $(CLUSTER)) $(if $(EARLIER),--earlier $(abspath $(EARLIER))) --logs chaos.log

$(FUZZ_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[fuzz]'
	touch $@

fuzz: $(FUZZ_STAMP)
	$(BIN)/python -m fuzz run --minutes $(or $(MINUTES),10) $(if $(SEED),--seed $(SEED)) $(if $(WORKERS),--workers $(WORKERS)) $(ONLY)

mutants: venv
	$(BIN)/python -m mutants --sample $(or $(SAMPLE),200) $(if $(SEED),--seed $(SEED)) $(if $(ONLY),--only $(ONLY)) \
		$(if $(GUARDS),--guards) $(if $(POSTGRESQL),--postgresql)

clean:
	rm -rf $(VENV) build dist *.egg-info _trial_temp* .mypy_cache .ruff_cache .hypothesis .demo .mutants .fuzz _screenshots
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -f twisted/plugins/dropin.cache chaos.log
