"""Key maps: names of official checkpoints' tensors to ours."""
