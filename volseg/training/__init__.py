"""Training with Lightning: decoded cases, patches, the module, the trainer.

Nothing is imported here, since reading and writing the cache needs neither Lightning nor a network.
"""
