"""The control plane: which device should have what, decided only among what is signed."""
