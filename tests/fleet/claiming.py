"""A device of a factory at its first contact, as an agent does it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from fleet_bench import URL, Bench, Device

from edgeloop.protocol import keys
from edgeloop.protocol.messages import VERSION_HEADER, Claim
from edgeloop.protocol.proofs import Use, prove
from edgeloop.protocol.signatures import sign
from edgeloop.testing.factory import Line


def p256() -> keys.P256Key:
    return keys.P256Key(ec.generate_private_key(ec.SECP256R1()))


@dataclass
class Made:
    """A device with a factory's certificate. ``own`` is the key that it makes at first contact."""

    bench: Bench
    line: Line
    serial: str
    factory_key: keys.Signer = field(default_factory=p256)
    own: keys.Signer = field(default_factory=keys.generate)
    chain: str = ""  # another one than the line would give

    def claim(self, **changed: Any) -> Any:
        """``signer`` signs in place of the factory key; other fields are of the message."""
        public = self.factory_key.public_key()
        signer = changed.pop("signer", self.factory_key)
        told = {
            "certificates": self.chain or self.line.device(self.serial, public),
            "public_key": keys.public_pem(self.own.public_key()),
            "proof": prove(self.own, Use.CLAIM, keys.fingerprint(public)),
            "target": "linux-x86",
        }
        body = Claim(**(told | changed)).model_dump_json().encode()
        headers = {"Content-Type": "application/json", VERSION_HEADER: "1"}
        who, now = keys.fingerprint(signer.public_key()), self.bench.clock.now()
        headers |= sign(signer, who, "POST", f"{URL}/v1/claim", headers, body, now)
        return self.bench.http.post("/v1/claim", content=body, headers=headers)

    def device(self, reply: Any) -> Device:
        """Who speaks from now on."""
        told = reply.json()
        return Device(self.bench, told["name"], key=self.own, known_as=told["device"])
