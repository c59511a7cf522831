"""Systems run over a log: a predictor each, metric scale, refinement."""
