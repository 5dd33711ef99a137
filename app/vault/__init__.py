"""Secrets at rest: the type that never shows one, the cipher, the master key, and sealed values of configurations."""
