"""Moving objects: detections, tracks, whole objects."""
