"""Training with Lightning: preprocessed cases, patches, the module, the trainer.

This file imports nothing, since the cache needs neither Lightning nor a network.
"""
