"""The delta benchmark's parts: data, models, files, peers, rows, figures."""
