"""Training the embedding model: data, augmentation, model, losses, selection, export."""
