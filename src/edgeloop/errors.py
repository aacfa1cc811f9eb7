"""Every error that edgeloop raises: one tree, numbered, each with its exit code.

EdgeloopError
├── InputError            exit 2   what a person wrote
│   ├── FileFaultsError     a file with all its faults
│   │   ├── LoopFileError     E101
│   │   └── StudyFileError    E821
│   ├── UnknownPluginError  E102
│   ├── OverrideError       E103
│   ├── DataError           E110
│   ├── DataSourceError     E111
│   ├── ModelError          E120
│   ├── InputMismatchError  E121
│   └── BatchError          E825
├── StoreError            exit 3   what lies on disk
│   ├── ArtifactMissingError  E201
│   ├── DigestError           E202
│   ├── DiskFullError         E203
│   └── StoreBusyError        E204
├── GateError             exit 4   E300
├── TrustError            exit 5   what may not be believed
│   ├── SignatureError      E401
│   ├── StaleMetadataError  E402
│   ├── NotListedError      E403
│   ├── BundleError         E404
│   ├── KeyFileError        E405
│   ├── ThresholdError      E406
│   └── DraftError          E407
├── DeviceError           exit 6   what a device cannot do
│   ├── TransitionError     E501
│   ├── AdmissionError      E502
│   ├── NoSlotError         E503
│   ├── AgentFolderError    E504
│   ├── SamplesError        E505
│   ├── EnrolmentError      E506
│   ├── PostponeError       E510
│   ├── HookError           E511
│   ├── HandlerError        E513
│   └── RowsFailedError     E826
├── FleetError            exit 7   what the control plane says or cannot be asked
│   ├── UnreachableError    E601
│   ├── UnauthorizedError   E602
│   ├── NotFoundError       E603
│   ├── ConflictError       E604
│   ├── PortInUseError      E605
│   ├── ProtocolError       E606
│   ├── DatabaseError       E607
│   ├── CertificateError    E608
│   ├── NotBelievedError    E609  (an UnreachableError)
│   ├── RevokedError        E610  (an UnauthorizedError)
│   ├── FactoryError        E611  (an UnauthorizedError)
│   ├── KeyPlaceError       E612
│   └── ClientCertificateError  E613  (an UnauthorizedError)
└── GroundError           exit 8   what is missing on this machine
    ├── MissingExtraError   E701
    └── TrackingError       E702

A number is never reused. Each has a page, ``docs/errors/<number>.md``.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Self


class EdgeloopError(Exception):
    """Base of all: number, thing, rule, what was got, what to do.

    ``str()`` gives ``[E101] <thing> <rule>, got <got>. <todo>`` without the parts that are absent.
    """

    number: ClassVar[str] = "E000"
    exit_code: ClassVar[int] = 1

    def __init__(self, thing: str, rule: str, *, got: object = None, todo: str = "") -> None:
        self.thing, self.rule, self.got, self.todo = thing, rule, got, todo
        super().__init__(str(self))

    def __str__(self) -> str:
        got = "" if self.got is None else f", got {self.got}"
        todo = f". {self.todo}" if self.todo else ""
        return f"[{self.number}] {self.thing} {self.rule}{got}{todo}"

    def to_json(self) -> dict[str, object]:
        """What programs get of an error: its number and its whole text."""
        return {"number": self.number, "message": str(self)}

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.thing, self.rule, self.got, self.todo))


def _rebuild(
    kind: type[EdgeloopError], thing: str, rule: str, got: object, todo: str
) -> EdgeloopError:
    return kind(thing, rule, got=got, todo=todo)


class InputError(EdgeloopError):
    """Something that a person wrote or named is wrong."""

    exit_code = 2


class FileFaultsError(InputError):
    """A YAML file has faults; ``thing`` is its path and ``rule`` lists every fault."""

    faults: Sequence[Mapping[str, object]] = ()  # each: line (or None), field, rule, value

    def carrying(self, faults: Sequence[Mapping[str, object]]) -> Self:
        """The same error, with every fault by itself for programs."""
        self.faults = tuple(faults)
        return self

    def to_json(self) -> dict[str, object]:
        """With every fault by itself; none where the file could not be read at all."""
        return {**super().to_json(), "faults": [dict(fault) for fault in self.faults]}


class LoopFileError(FileFaultsError):
    """The loop file has faults; ``thing`` is its path and ``rule`` lists every fault."""

    number = "E101"


class StudyFileError(FileFaultsError):
    """The study file has faults; ``thing`` is its path and ``rule`` lists every fault."""

    number = "E821"


class UnknownPluginError(InputError):
    """No recipe, pass, check ... of that name and version is registered."""

    number = "E102"


class OverrideError(InputError):
    """A ``key=value`` on the command line does not fit the loop file."""

    number = "E103"


class DataError(InputError):
    """A row, file or column of the data is broken or does not fit the schema."""

    number = "E110"


class DataSourceError(InputError):
    """None of a data set's sources could give it."""

    number = "E111"


class ModelError(InputError):
    """A model file is broken, too large, or not of the form that was said."""

    number = "E120"


class InputMismatchError(InputError):
    """What an application asks does not fit the model's input signature."""

    number = "E121"


class BatchError(InputError):
    """The rows of a batch, or the file for its answers, are not what they must be."""

    number = "E825"


class StoreError(EdgeloopError):
    """The store could not do what was asked; nothing half-done stays."""

    exit_code = 3


class ArtifactMissingError(StoreError):
    """The store has no artifact or blob of that name or digest."""

    number = "E201"


class DigestError(StoreError):
    """Bytes do not have the digest or the size that names them."""

    number = "E202"


class DiskFullError(StoreError):
    """The disk has no room for the next write."""

    number = "E203"


class StoreBusyError(StoreError):
    """Another process holds the store's lock for too long."""

    number = "E204"


class GateError(EdgeloopError):
    """A release was stopped: at least one check failed or was not measured."""

    number = "E300"
    exit_code = 4


class TrustError(EdgeloopError):
    """Something signed, listed or hashed does not hold."""

    exit_code = 5


class SignatureError(TrustError):
    """A signature is missing, wrong, or by a key that is not trusted."""

    number = "E401"


class StaleMetadataError(TrustError):
    """Signed metadata is expired or older than what was seen before."""

    number = "E402"


class NotListedError(TrustError):
    """A release is not on the channel's signed list, or below its floor."""

    number = "E403"


class BundleError(TrustError):
    """A bundle's bytes or manifest break a rule; it is not installed."""

    number = "E404"


class KeyFileError(TrustError):
    """A key file is missing, broken, or readable by others."""

    number = "E405"


class ThresholdError(TrustError):
    """Fewer holders have signed than a role of the repository asks for."""

    number = "E406"


class DeltaError(TrustError):
    """A delta is broken, cut short, or of another form."""

    number = "E408"


class DraftError(TrustError):
    """A draft of root or targets metadata is no draft, asks for too much, or is out of date."""

    number = "E407"


class DeviceError(EdgeloopError):
    """A device cannot do what was asked and stays on the slot that it has."""

    exit_code = 6


class TransitionError(DeviceError):
    """The state table has no move for this state and event."""

    number = "E501"


class AdmissionError(DeviceError):
    """A new slot did not prove itself on this device."""

    number = "E502"


class NoSlotError(DeviceError):
    """The device has no installed bundle to answer with."""

    number = "E503"


class AgentFolderError(DeviceError):
    """The agent's folder is missing, broken, or in use by another agent."""

    number = "E504"


class SamplesError(DeviceError):
    """A device was asked for samples that it may not or cannot give."""

    number = "E505"


class EnrolmentError(DeviceError):
    """What a device is to be told breaks a rule; its one-time token was not spent."""

    number = "E506"


class PostponeError(DeviceError):
    """Nothing is there that could be postponed, or not for so long."""

    number = "E510"


class HookError(DeviceError):
    """A program beside an update refused it, or may not be run."""

    number = "E511"


class RowsFailedError(DeviceError):
    """A batch went to its end, and some of its rows could not be answered."""

    number = "E826"


class HandlerError(DeviceError):
    """A command of the device's owner, which a payload was handed to, failed or took too long."""

    number = "E513"


class FleetError(EdgeloopError):
    """The control plane refused, or could not be asked."""

    exit_code = 7


class UnreachableError(FleetError):
    """No answer from the control plane or the blob server."""

    number = "E601"


class UnauthorizedError(FleetError):
    """A token or a request's signature was not accepted."""

    number = "E602"


class NotFoundError(FleetError):
    """The control plane has no such device, rollout, release or token."""

    number = "E603"


class ConflictError(FleetError):
    """The asked change does not fit the present state."""

    number = "E604"


class PortInUseError(FleetError):
    """Another program listens on the address."""

    number = "E605"


class ProtocolError(FleetError):
    """A message has a version or a form that this side does not speak."""

    number = "E606"


class DatabaseError(FleetError):
    """The control plane's database is damaged, or by a newer edgeloop; it is left as it is."""

    number = "E607"


class CertificateError(FleetError):
    """A certificate for TLS, or its key, cannot be used."""

    number = "E608"


class NotBelievedError(UnreachableError):
    """A server showed a certificate that the asker has no reason to believe; nothing was sent."""

    number = "E609"


class RevokedError(UnauthorizedError):
    """An operator decided that the control plane listens to this device no more."""

    number = "E610"


class FactoryError(UnauthorizedError):
    """A factory certificate, or the serial number in it, may not claim a device here."""

    number = "E611"


class KeyPlaceError(FleetError):
    """The chip, or other place, that should keep a device's key cannot be used."""

    number = "E612"


class ClientCertificateError(UnauthorizedError):
    """A device's connection does not show the certificate that it must."""

    number = "E613"


class GroundError(EdgeloopError):
    """The machine lacks something."""

    exit_code = 8


class MissingExtraError(GroundError):
    """A library of an extra that was not installed."""

    number = "E701"


class TrackingError(GroundError):
    """The experiment tracker could not be reached or written."""

    number = "E702"


def all_errors() -> tuple[type[EdgeloopError], ...]:
    """Every concrete error class, by number; the list that docs and tests walk."""
    found: list[type[EdgeloopError]] = []
    waiting = [EdgeloopError]
    while waiting:
        kind = waiting.pop()
        waiting.extend(kind.__subclasses__())
        if "number" in vars(kind) and kind is not EdgeloopError:
            found.append(kind)
    return tuple(sorted(found, key=lambda kind: kind.number))
