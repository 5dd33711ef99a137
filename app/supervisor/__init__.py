"""`entrepot up`: the broker and every role on one machine, restarted when they end."""
