"""Example messages: every kind at least once, and its extremes.

One list feeds the round trips, the golden vectors and the fuzzers.
"""

from typing import get_args

from proto.adapter import Adapter, Target
from proto.ansatz import default_classifier
from proto.messages import (
    MAX_INLINE,
    MAX_UPDATE,
    STORED,
    Ack,
    Admission,
    Birth,
    BlobRef,
    Bundle,
    CoordinatorState,
    DataSpec,
    Enlistment,
    Era,
    Gone,
    JoinAnswer,
    JoinRequest,
    KeyAccept,
    KeyOffer,
    KeyRecord,
    Message,
    Metrics,
    Offer,
    Piece,
    Pull,
    Receipt,
    Report,
    Resources,
    Revoked,
    Sealed,
    Signed,
    Task,
    Training,
    Update,
)
from proto.resources import MAX_JOURNAL

LONGEST = "z9-" * 10 + "ab"
"""An id of 32 characters."""
COUNTER = 2**40
SMALL = 2**31
DIGEST = bytes(range(32))
SHORT = bytes(range(16))
ERA = Era(number=1, nonce=b"era-one!")
LAST_ERA = Era(number=SMALL, nonce=b"\xff" * 8)
KEM = bytes(range(256)) * 4 + bytes(192)
TEXT = "\N{SNOWMAN}\n\0" * 66 + "ab"
"""200 characters that a careless reader trips over."""

METRICS = Metrics(
    first_loss=0.7,
    last_loss=0.5,
    validation_loss=0.6,
    validation_accuracy=0.75,
    validation_rows=20,
    steps=5,
)
FULL_METRICS = Metrics(
    first_loss=1e300,
    last_loss=-1e-300,
    validation_loss=0.1,
    validation_accuracy=1.0,
    validation_rows=SMALL,
    steps=SMALL,
    evaluations=COUNTER,
    gradients=COUNTER,
    shots=COUNTER,
    teacher_loss=1e300,
)
SMALL_UPDATE = Update(
    id=SHORT,
    turn=COUNTER,
    model=DIGEST,
    rows=2**20,
    payload=bytes(range(100, 127)),
    metrics=FULL_METRICS,
)
"""21 parameters at 8 bits, everything else as large as it gets."""
BLOB = BlobRef(digest=DIGEST, address=SHORT, size=2**30)
TASK = Task(
    fleet="fleet",
    job="job",
    serial=1,
    model=default_classifier(),
    data=DataSpec(columns=(), classes=("no", "yes"), components=0, min_rows=1, validation=0.0),
    training=Training(steps=1, learning_rate=0.01, decay=1.0, batch=0, bits=8, block=256),
)

ADAPTER = Adapter(
    base=DIGEST,
    blocks=6,
    rank=8,
    alpha=16.0,
    targets=(Target("q", 576, 576), Target("v", 576, 192)),
    share="ab",
    combine="stacked",
    least_rank=2,
    prompt="{text}\nSpam?",
    answers=(" no", " yes"),
    tokens=64,
)

CASES: dict[str, Message] = {
    "key-record": KeyRecord(fleet="fleet", serial=1, key=DIGEST, expires=1_900_000_000),
    "key-record-extreme": KeyRecord(fleet=LONGEST, serial=SMALL, key=DIGEST, expires=COUNTER),
    "state": CoordinatorState(
        fleet="fleet", record=b"record", session=1, era=ERA, roster=0, time=0, online=True
    ),
    "state-extreme": CoordinatorState(
        fleet=LONGEST,
        record=bytes(512),
        session=COUNTER,
        era=LAST_ERA,
        roster=SMALL,
        time=COUNTER,
        online=False,
    ),
    "birth-first": Birth(fleet="f", box="b", session=1, kem=KEM, era=None, turn=0, release="0.1.0"),
    "birth-extreme": Birth(
        fleet=LONGEST,
        box=LONGEST,
        session=COUNTER,
        kem=KEM,
        era=LAST_ERA,
        turn=COUNTER,
        release="9" * 32,
    ),
    "gone": Gone(fleet=LONGEST, box=LONGEST, session=COUNTER),
    "key-offer": KeyOffer(box="box-1", birth=DIGEST, era=ERA, kem=KEM, secret=bytes(32)),
    "key-offer-extreme": KeyOffer(
        box=LONGEST, birth=DIGEST, era=LAST_ERA, kem=KEM, secret=bytes(2048)
    ),
    "key-accept": KeyAccept(box="box-1", offer=DIGEST, secret=bytes(32), report=b""),
    "key-accept-extreme": KeyAccept(
        box=LONGEST, offer=DIGEST, secret=bytes(2048), report=bytes(4096)
    ),
    "task": TASK,
    "task-extreme": Task(
        fleet=LONGEST,
        job=LONGEST,
        serial=SMALL,
        model=default_classifier(features=12, classes=64),
        data=DataSpec(
            columns=tuple(f"column {i}" for i in range(64)),
            classes=tuple(f"{i:0100d}" for i in range(64)),
            components=64,
            min_rows=2**20,
            validation=0.5,
        ),
        training=Training(
            steps=100_000, learning_rate=10.0, decay=0.5, batch=2**20, bits=32, block=4096
        ),
    ),
    "task-adapter": Task(
        fleet="fleet",
        job="job",
        serial=1,
        model=ADAPTER,
        data=DataSpec(
            columns=(),
            classes=("ham", "spam"),
            components=0,
            min_rows=1,
            validation=0.1,
            text="text",
        ),
        training=Training(
            steps=10,
            learning_rate=0.002,
            decay=1.0,
            batch=8,
            bits=4,
            block=64,
            optimiser="adamw",
            keep=0.1,
            feedback=True,
            warmup=3,
            weight_decay=0.01,
        ),
    ),
    "receipt": Receipt(
        fleet=LONGEST, job=LONGEST, round=SMALL, turn=COUNTER, model=DIGEST, included=SMALL
    ),
    "join-request": JoinRequest(
        token=LONGEST, box=LONGEST, key=DIGEST, kem=KEM, proof=bytes(range(64))
    ),
    "join-refused": JoinAnswer(request=DIGEST, record=b"", admission=b"", refusal=TEXT),
    "join-answer-extreme": JoinAnswer(
        request=DIGEST, record=bytes(512), admission=bytes(16384), refusal=""
    ),
    "admission": Admission(fleet=LONGEST, box=LONGEST, username="", password="", ca=""),
    "admission-extreme": Admission(
        fleet=LONGEST, box=LONGEST, username="u" * 100, password="p" * 100, ca="\n" * 8192
    ),
    "revoked": Revoked(fleet=LONGEST, box=LONGEST, roster=SMALL),
    "report-bare": Report(turn=0, accepted=True, reason="", resources=Resources()),
    "report-extreme": Report(
        turn=COUNTER,
        accepted=False,
        reason=TEXT,
        resources=Resources(
            battery=100,
            charging=False,
            ram_free_mib=SMALL,
            cpu_load=0,
            temperature_c=-100,
            disk_free_mib=0,
            note=TEXT,
            link_kbps=SMALL,
            link_loss=100,
            qpu_queue_s=SMALL,
            journal=("~" * 160,) * MAX_JOURNAL,
        ),
    ),
    "enlistment": Enlistment(job=LONGEST, task=SHORT, rows=2**24, reason=""),
    "enlistment-declined": Enlistment(job="job", task=SHORT, rows=0, reason=TEXT),
    "update-21-numbers": SMALL_UPDATE,
    "update-empty": Update(id=SHORT, turn=0, model=DIGEST, rows=0, payload=b"", metrics=None),
    "update-largest": Update(
        id=SHORT, turn=1, model=DIGEST, rows=1, payload=bytes(MAX_UPDATE), metrics=METRICS
    ),
    "piece": Piece(id=SHORT, turn=1, index=0, count=2, data=b"half"),
    "piece-extreme": Piece(id=SHORT, turn=COUNTER, index=63, count=64, data=bytes(MAX_UPDATE)),
    "pull-map": Pull(address=SHORT, want=b""),
    "pull-extreme": Pull(address=SHORT, want=b"\xff" * 8192),
    "offer-moments": Offer(
        job="job",
        round=0,
        turn=1,
        kind=0,
        task=SHORT,
        key=DIGEST,
        model=None,
        features=None,
        inline=b"",
        steps=0,
        seconds=1,
        seed=0,
    ),
    "offer-extreme": Offer(
        job=LONGEST,
        round=SMALL,
        turn=COUNTER,
        kind=2,
        task=SHORT,
        key=DIGEST,
        model=BLOB,
        features=BLOB,
        inline=bytes(MAX_INLINE),
        steps=100_000,
        seconds=30 * 86400,
        seed=2**32 - 1,
    ),
    "ack-empty": Ack(items=()),
    "ack-extreme": Ack(items=((SHORT, STORED, ""), *((SHORT, 2, TEXT),) * 63)),
    "bundle": Bundle(
        items=(
            Report(turn=3, accepted=True, reason="", resources=Resources()),
            SMALL_UPDATE,
        )
    ),
    "bundle-extreme": Bundle(items=(Ack(items=((SHORT, 2, TEXT),) * 32),) * 8),
}

SIGNED_KINDS: tuple[type[Message], ...] = get_args(Signed)
SEALED_KINDS: tuple[type[Message], ...] = get_args(Sealed)
SMALL_CASES = tuple(n for n in CASES if "extreme" not in n and "largest" not in n)
"""Names of the cases that are cheap to decode thousands of times."""
