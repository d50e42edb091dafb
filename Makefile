# Every target is a few commands that can be typed by hand; the README shows them.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test clean

# The main job on real data: the emoji, a contrastive model, its retrieval scores and a picture of them.
demo: .venv/demo.done
	$(BIN)/mmkit data prepare emoji
	$(BIN)/mmkit_run +experiment=emoji_clip

test: .venv/test.done
	$(BIN)/python -m pytest -n 2

.venv/demo.done: pyproject.toml constraints.txt | .venv
	$(BIN)/python -m pip install -c constraints.txt -e '.[demo]'
	touch $@

.venv/test.done: pyproject.toml constraints.txt | .venv
	$(BIN)/python -m pip install -c constraints.txt -e '.[test]'
	touch $@

.venv:
	$(PYTHON) -m venv .venv

clean:
	rm -rf .venv outputs multirun
