"""Generated worlds as nuScenes folders and training clips."""
