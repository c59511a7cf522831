"""LZF decompression, as PCL compresses the points of a PCD file."""

from numba import njit


@njit(nogil=True, cache=True)
def decompress(data, out):
    """Write what `data` [n] (bytes) holds into `out` [m]; how many bytes it is, -1 if it is broken.

    A byte below 32 is followed by as many literals and one more; any other begins a copy of what
    was written before: 3 bits of length, 13 bits of distance (liblzf's lzf_d.c).
    """
    at = written = 0
    while at < data.shape[0]:
        control = int(data[at])
        at += 1
        if control < 32:
            count = control + 1
            if at + count > data.shape[0] or written + count > out.shape[0]:
                return -1
            for i in range(count):
                out[written + i] = data[at + i]
            at += count
        else:
            count = control >> 5
            if count == 7:
                if at >= data.shape[0]:
                    return -1
                count += int(data[at])
                at += 1
            if at >= data.shape[0]:
                return -1
            start = written - ((control & 31) << 8) - int(data[at]) - 1
            at += 1
            count += 2
            if start < 0 or written + count > out.shape[0]:
                return -1
            for i in range(count):
                out[written + i] = out[start + i]
        written += count
    return written
