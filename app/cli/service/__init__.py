"""Commands that run or check Entrepot itself."""
