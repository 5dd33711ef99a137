"""Benchmarks: each figure is measured together with a reference in the same run. Not part of the package."""
