# make demo   see the network train through BasicSR on this machine and restore images it has never seen: portraits
#             where `make faces` has made them, else images of installed packages
# make faces  fetch portraits that anybody may use, and align them: datasets/faces/train.lmdb and test.lmdb
#             (PORTRAITS=FOLDER: take them from a folder)
# make plugin make the environment, .venv, with the plugin and all that it needs
# make test   run the tests
# make options   write the options files that are derived from the paper's training
# make docs   write the tables of options in docs/ and the JSON Schemas for editors
# make pretrained-general, make pretrained-faces   train the packaged networks (resumable)
# make lint   check style, types, and who may import whom
# make bench  run the benchmarks (half an hour on two cores; those that train for a budget get a minute for two networks)
# make gpu    check and measure on this machine's NVIDIA GPU (eight minutes)
# make clean  remove what the demo wrote (the environment stays)

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
EXTRAS := app,heif,metrics,onnx,openvino,spandrel,tensorboard,video,test
# The environment is rebuilt when a file that defines it changes.
READY := $(VENV)/ready-$(shell cat setup.py constraints.txt | sha256sum | cut -c1-16)
# It may be shared by several clones; the plugin that it holds is that of the clone that ran last.
PLUGIN_OF := $(VENV)/plugin-of

.PHONY: data faces demo demo-on-faces demo-on-images docs options pretrained-general pretrained-faces test lint bench gpu clean plugin

$(READY):
	@echo "Setting up $(VENV) with PyTorch, BasicSR and what the plugin needs. This takes some minutes, once."
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip setuptools wheel
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .[$(EXTRAS)]
	@echo "$(CURDIR)" > $(PLUGIN_OF)
	@touch $@

plugin: $(READY)
	@[ "$$(cat $(PLUGIN_OF))" = "$(CURDIR)" ] || \
	    ($(BIN)/pip install --quiet --no-deps --no-build-isolation --editable . && echo "$(CURDIR)" > $(PLUGIN_OF))

data: plugin
	$(BIN)/python data_prep/make_demo_images.py -o datasets/demo
	$(BIN)/hifacegan lmdb -i datasets/demo/train -o datasets/demo/train.lmdb --crop-size 128 --overwrite
	$(BIN)/hifacegan lmdb -i datasets/demo/heldout -o datasets/demo/heldout.lmdb --overwrite

demo: demo-on-$(if $(wildcard datasets/faces/test.lmdb),faces,images)

demo-on-faces: plugin
	$(call demo,faces_demo,compare_faces)

demo-on-images: data
	@echo "There are no portraits in datasets/faces (make faces): the demo is on images of installed packages."
	$(call demo,hifacegan_demo,compare_demo)

# $(call demo,OPTIONS,COMPARISON): train, test, and show the result
define demo
	$(BIN)/python -m basicsr.train -opt options/$(1).yml --auto_resume
	$(BIN)/python -m basicsr.test -opt options/test_$(1).yml
	$(BIN)/hifacegan report -opt options/test_$(1).yml
	@echo "To use the environment: source $(VENV)/bin/activate; then, for instance: hifacegan compare -opt options/$(2).yml"
endef

faces: plugin
	$(BIN)/python data_prep/fetch_portraits.py -o datasets/faces $(if $(PORTRAITS),--from "$(PORTRAITS)")
	for part in train test; do $(BIN)/hifacegan align -i datasets/faces/portraits --list datasets/faces/$$part.txt \
	    -o datasets/faces/$$part.lmdb --resume || exit 1; done

# IMAGES: a folder of clean images; for faces, of aligned ones with their surroundings, as
# `hifacegan align -i photographs -o FOLDER --side 704 --margin 0.1875` cuts them out. MINUTES: 10 on a GPU.
pretrained-general pretrained-faces: pretrained-%: plugin
	@[ -n "$(IMAGES)" ] || { echo "make $@ IMAGES=FOLDER [MINUTES=120]: say which images to learn from"; exit 2; }
	$(BIN)/python benchmarks/train_pretrained.py $* --images "$(IMAGES)" --minutes $(or $(MINUTES),120) -o experiments/pretrained_$*

options: plugin
	$(BIN)/python options/make_options.py

docs: plugin
	$(BIN)/python docs/make_docs.py

test: plugin
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 tests

lint: plugin
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/lint-imports
	$(BIN)/mypy

# By default these two take days: all networks, several rates and seeds, ten or twenty minutes for each training.
BUDGETED := benchmarks/train_peers.py benchmarks/quality_at_budget.py
# These need a GPU, or images of the user's.
ON_REQUEST := $(addprefix benchmarks/, gpu.py face_identity.py face_restoring.py package_pretrained.py published.py \
    rain_haze.py train_pretrained.py)

bench: data
	for script in $(sort $(filter-out $(BUDGETED) $(ON_REQUEST), $(wildcard benchmarks/*.py))); do $(BIN)/python $$script || exit 1; done
	$(BIN)/python benchmarks/train_peers.py --budget 60 --peers csr_fast edsr
	$(BIN)/python benchmarks/quality_at_budget.py --networks options/peers/csr_fast.yml options/peers/edsr.yml \
	    --degradations noise --minutes 1 --rates 5e-4 --seeds 0

gpu: plugin
	$(BIN)/python benchmarks/gpu.py

clean:
	rm -rf datasets/demo $(foreach name,HiFaceGAN_demo HiFaceGAN_faces_demo,\
	    experiments/$(name) results/$(name)_test tb_logger/$(name))
