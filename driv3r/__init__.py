"""driv3r: camera logs of a driving car in, metric 4D reconstructions out."""

__version__ = "0.1.0"
