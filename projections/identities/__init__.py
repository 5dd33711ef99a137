"""Values of identities: their normal form, and blocked values."""
