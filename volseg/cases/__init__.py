"""Cases: their images, label maps, sources, folds and data lists, on disk and in memory."""
