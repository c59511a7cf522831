"""Training of our network: clip pool, batches on the device, trainer, checkpoints."""
