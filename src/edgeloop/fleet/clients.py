"""What a control plane asks of devices over TLS."""

from enum import StrEnum


class Clients(StrEnum):
    """What devices must show over TLS, beside the signature of each request."""

    OFF = "off"
    OPTIONAL = "optional"  # each is given a certificate; who shows one shows its own
    REQUIRED = "required"  # and nothing is heard without one
