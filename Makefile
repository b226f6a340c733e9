# Both targets set up all they need, can be run again at any time, and say what they do.
PYTHON ?= $(shell command -v python3.12 || command -v python3.11 || command -v python3)
VENV := .venv
