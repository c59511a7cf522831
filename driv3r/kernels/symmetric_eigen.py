"""Eigenvectors of many symmetric 3 x 3 matrices."""

import numpy as np
from numba import njit

SWEEPS = 8  # Jacobi's method converges quadratically: 5 are enough for doubles


@njit(nogil=True, cache=True, error_model="numpy")
def find_eigenvectors(matrices, values, vectors):
    """Write eigenvalues [n 3] in ascending order and eigenvectors [n 3 3] (columns).

    Cyclic Jacobi rotations (Golub and Van Loan, section 8.5). `matrices` [n 3 3] are overwritten.
    """
    for n in range(matrices.shape[0]):
        for i in range(3):
            for j in range(3):
                vectors[n, i, j] = 1.0 if i == j else 0.0
        for _ in range(SWEEPS):
            for p, q in ((0, 1), (0, 2), (1, 2)):
                off = matrices[n, p, q]
                if off == 0.0:
                    continue
                theta = (matrices[n, q, q] - matrices[n, p, p]) / (2 * off)
                sign = 1.0 if theta >= 0 else -1.0
                t = sign / (abs(theta) + np.sqrt(theta * theta + 1))
                c = 1 / np.sqrt(t * t + 1)
                s = t * c
                for k in range(3):
                    a, b = matrices[n, k, p], matrices[n, k, q]
                    matrices[n, k, p], matrices[n, k, q] = c * a - s * b, s * a + c * b
                for k in range(3):
                    a, b = matrices[n, p, k], matrices[n, q, k]
                    matrices[n, p, k], matrices[n, q, k] = c * a - s * b, s * a + c * b
                matrices[n, p, q] = matrices[n, q, p] = 0.0
                for k in range(3):
                    a, b = vectors[n, k, p], vectors[n, k, q]
                    vectors[n, k, p], vectors[n, k, q] = c * a - s * b, s * a + c * b
        for i in range(3):
            values[n, i] = matrices[n, i, i]
        for i, j in ((0, 1), (1, 2), (0, 1)):
            if values[n, i] > values[n, j]:
                values[n, i], values[n, j] = values[n, j], values[n, i]
                for k in range(3):
                    swap = vectors[n, k, i]
                    vectors[n, k, i], vectors[n, k, j] = vectors[n, k, j], swap
