"""HTTP basics: problems, headers, bodies, authentication. Knows no resources."""
