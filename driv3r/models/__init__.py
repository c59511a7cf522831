"""Networks: shared parts (encoders, priors, aggregators, heads) and the models made of them."""
