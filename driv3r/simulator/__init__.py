"""The generated driving world: scenes from seeds, exact truth, genuine nuScenes v1.0 folders."""
