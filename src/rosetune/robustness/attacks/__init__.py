"""Attacks: search x transformation x constraints, with the model asked in large batches.

``recipes`` composes the parts as papers did, ``run`` attacks rows and keeps the results, ``victim`` wraps a model,
``summary`` computes figures and the transfer matrix from results. Only ``victim`` needs torch.
"""
