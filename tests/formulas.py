"""Formulas in numpy that several tests hold a method against, importable as ``formulas``."""

import numpy as np


def log_softmax(z):
    z = z - z.max(-1, keepdims=True)
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


def divergence(z, w):
    """KL in both directions of each row of logits, or the squared difference of a single one."""
    if z.shape[-1] == 1:
        return ((z - w) ** 2)[:, 0]
    p, q = log_softmax(z), log_softmax(w)
    return (np.exp(p) * (p - q)).sum(-1) + (np.exp(q) * (q - p)).sum(-1)


def slope(z, w):
    """The gradient of each row's divergence with respect to z."""
    if z.shape[-1] == 1:
        return 2 * (z - w)
    log_p, log_q = log_softmax(z), log_softmax(w)
    p, d = np.exp(log_p), log_p - log_q
    return p * (d - (p * d).sum(-1, keepdims=True)) + p - np.exp(log_q)
