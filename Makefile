# The habits of this project; `make help` lists them.
.PHONY: help test lint format types docs site pictures licenses bench
.DEFAULT_GOAL := help

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

test:  ## run the tests
	pytest

lint:  ## check style, format and the layering of imports
	ruff check .
	ruff format --check .
	lint-imports --no-logo

format:  ## put code into its format
	ruff check --fix .
	ruff format .

types:  ## check types
	mypy

docs:  ## generate docs/reference.md, docs/reference/ and the table in docs/networks.md
	python -m cnntrain.config.generate_reference
	python -m cnntrain.costs.generate_networks_table

site:  ## build the documentation into build/site; a link to nothing and a file from the network are errors
	zensical build --strict --clean
	! grep -rlE '<(script|link|img)[^>]* (src|href)="?https?:' build/site

pictures:  ## draw docs/images from real runs; needs Chromium
	python -m documentation.pictures

licenses:  ## write docs/licenses.md; needs all extras
	python -m documentation.licenses

bench:  ## measure training throughput against other stacks (DATA=folder of the npz files)
	python -m benchmarks.throughput --data $(DATA)
