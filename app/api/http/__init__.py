"""HTTP basics: problems, headers, bodies, authentication. Independent of resources."""
