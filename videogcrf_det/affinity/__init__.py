"""The couplings of a pixel with all others, made visible."""
