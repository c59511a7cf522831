"""Asks a log's tracks with pandas: how far and how fast each object went.

    driv3r export out/demo/scene-0003.zarr --to csv
    python examples/tracks_in_pandas.py out/demo/export/scene-0003/csv/tracks.csv

A tracks.parquet, of --to parquet, is read as well.
"""

import argparse

import pandas


def summarise(tracks: pandas.DataFrame) -> pandas.DataFrame:
    """A row a track: seconds, metres from its first to its last state, mean speed, size."""
    tracks = tracks.assign(
        speed_mps=(tracks.vx_mps**2 + tracks.vy_mps**2 + tracks.vz_mps**2) ** 0.5
    )
    by_track = tracks.sort_values("time_us").groupby("track_id")
    first, last = by_track.first(), by_track.last()
    way = sum((last[axis] - first[axis]) ** 2 for axis in ("x_m", "y_m", "z_m")) ** 0.5
    return pandas.DataFrame(
        {
            "seconds": (last.time_us - first.time_us) * 1e-6,
            "way_m": way,
            "speed_mps": by_track.speed_mps.mean(),
            "length_m": first.length_m,
            "observed": by_track["observed"].mean(),
        }
    )


def main() -> None:
    """Print the table, longest way first."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tracks", help="tracks.csv or tracks.parquet of an export.")
    path = parser.parse_args().tracks
    read = pandas.read_parquet if path.endswith(".parquet") else pandas.read_csv
    print(summarise(read(path)).sort_values("way_m", ascending=False).round(2).to_string())


if __name__ == "__main__":
    main()
