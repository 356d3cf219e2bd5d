"""Readers of the annotation files of published benchmarks and data sets, one file per family of formats."""
