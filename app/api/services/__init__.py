"""What lives as long as the API does: producers, tails, monitors."""
