"""Values of identities: their normal form, and values that identify nobody."""
