"""`mapping.toml`: what is billed to whom. Reading it, suggesting its rows, editing it."""
