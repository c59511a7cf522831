"""Names of official checkpoints' tensors as ours."""
