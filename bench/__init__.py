"""Measures what Entrepot promises, each figure beside a reference of the same run. Not part of the package."""
