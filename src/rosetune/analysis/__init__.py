"""Look inside a model: landscapes, curvature, dropout, drift, masks and probes, from a model and rows to arrays."""
