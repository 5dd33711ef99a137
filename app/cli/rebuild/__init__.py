"""The commands of `entrepot rebuild`."""
