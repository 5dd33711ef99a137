"""The commands of `entrepot job`."""
