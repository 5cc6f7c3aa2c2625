"""The one preprocessing graph shared by training and serving."""
