"""The names of everything that the audit log records; one place, so that none is typed twice."""

from enum import StrEnum


class Event(StrEnum):
    """What happened. An operator's own notes are ``trigger.*`` and are not listed here."""

    OPERATOR_CREATED = "operator.created"
    TOKEN_CREATED = "token.created"  # noqa: S105  (the name of an event)
    DEVICE_ENROLLED = "device.enrolled"
    DEVICE_ENROLLED_AGAIN = "device.enrolled_again"  # with its history, by a token for it alone
    DEVICE_CLAIMED = "device.claimed"  # by its factory certificate
    DEVICE_CLAIM_FREED = "device.claim_freed"  # its serial number may be claimed once more
    DEVICE_ROTATION_ASKED = "device.rotation_asked"
    DEVICE_KEY_CHANGED = "device.key_changed"  # the first use of the next key
    DEVICE_REVOKED = "device.revoked"
    FACTORY_ADDED = "factory.added"
    FACTORY_LISTED = "factory.listed"  # serial numbers that may claim
    FACTORY_REVOKED = "factory.revoked"
    DEVICE_STATE = "device.state"  # a report changed the state or what is running
    DEVICE_BEGAN_AGAIN = "device.began_again"  # its moves restarted: it lost its progress
    DEVICE_MODEL = "device.model"  # it follows another model or channel than was known
    DEVICE_HELD = "device.held"
    DEVICE_RELEASED = "device.hold_released"
    DEVICE_PINNED = "device.pinned"
    DEVICE_UNPINNED = "device.unpinned"
    DEVICE_DECOMMISSIONED = "device.decommissioned"
    DEVICE_NOT_ROLLED_BACK = "device.not_rolled_back"  # its job in a rollback went wrong
    DEVICE_SKIPPED = "device.skipped"  # a rollout selects it, yet it may not be selected
    ROLLOUT_CREATED = "rollout.created"
    ROLLOUT_STARTED = "rollout.started"
    ROLLOUT_PAUSED = "rollout.paused"
    ROLLOUT_RESUMED = "rollout.resumed"
    ROLLOUT_STOPPED = "rollout.stopped"
    ROLLOUT_ROLLED_BACK = "rollout.rolled_back"
    ROLLOUT_FINISHED = "rollout.finished"
    ROLLOUT_INCOMPLETE = "rollout.incomplete"  # a rollback ended, and not every device is back
    ROLLOUT_WARNED = "rollout.warned"  # it started, and its plan does not do what it seems to
    ROLLOUT_STAGE = "rollout.stage"  # a group's next stage opened
    JOB_OFFERED = "job.offered"
    JOB_SUCCEEDED = "job.succeeded"
    JOB_FAILED = "job.failed"
    JOB_REJECTED = "job.rejected"
    JOB_TIMED_OUT = "job.timed_out"
    JOB_REMOVED = "job.removed"
    SAMPLES_REQUESTED = "samples.requested"
    SAMPLES_RECEIVED = "samples.received"
    SAMPLES_CLOSED = "samples.closed"
