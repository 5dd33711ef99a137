"""Services that live as long as the API: producers, tails, monitors."""
