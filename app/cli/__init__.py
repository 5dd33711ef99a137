"""The command line `entrepot`. Every command loads what it needs when it runs, so that `--help` answers at once."""
