"""What devices and control plane say to each other, and how it is signed."""
