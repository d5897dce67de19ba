"""Any bytes, from anybody, give a value or `RemoteError`: here every door that bytes come in by."""

from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import inspect

from proto import blobs, exchange, joining, sealing
from proto.codec import MAX_MESSAGE, decode_sealed, decode_signed, encode, validate
from proto.errors import ConfigError, LocalError, RemoteError, SealError
from proto.identity import CONTEXT, Identity, open_record, open_signed, open_state, sign
from proto.messages import (
    Admission,
    Birth,
    BlobRef,
    Bundle,
    Era,
    Gone,
    KeyOffer,
    Message,
    Piece,
    Report,
    Task,
    Update,
)
from proto.topics import Topics, base32, from_base32
from tests.proto.cases import CASES, ERA, SEALED_KINDS, SHORT, SIGNED_KINDS, SMALL_CASES

FEW = settings(max_examples=60, deadline=None)
MANY = settings(max_examples=200, deadline=None)

ROOT, COORDINATOR, BOX = (Identity(bytes([n]) * 32) for n in (1, 2, 3))
KEY = b"k" * 32
FRAME_KEY = sealing.Key(KEY)
TOKEN = joining.Token("mqtt://broker", "fleet", ROOT.public, "t-1", SHORT)
VERIFIER = joining.token_key(TOKEN.secret).public
KEM = sealing.KemPair()
KEM_SEALED = sealing.seal_to(KEM.public, b"secret", b"context")
RECORD = sign(CASES["key-record"], ROOT)
MEMBER = {"fleet": "fleet", "box": "box-1"}


def value_or_refusal(read: Callable[..., object], *inputs: object) -> object:
    """What was read, or None where it was refused. Any other exception fails the test."""
    try:
        return read(*inputs)
    except RemoteError:
        return None


def decoded(data: bytes, kind: type[Message]) -> Message:
    return decode_sealed(data) if kind in SEALED_KINDS else decode_signed(data, kind)


# --- strategies, from the types alone -------------------------------------------------------------


def values(node: inspect.Type) -> st.SearchStrategy[Any]:  # noqa: PLR0911 - one for each type
    """Whatever a field of this type may hold."""
    match node:
        case inspect.StructType(cls=kind):
            return messages(kind)
        case inspect.UnionType(types=types):
            return st.one_of([values(one) for one in types])
        case inspect.NoneType():
            return st.none()
        case inspect.BoolType():
            return st.booleans()
        case inspect.LiteralType(values=known):
            return st.sampled_from(known)
        case inspect.IntType():
            low = node.ge if node.ge is not None else -(2**63)
            high = node.le if node.le is not None else (node.lt or 2**64) - 1
            return st.sampled_from((low, high)) | st.integers(low, high)
        case inspect.FloatType():
            above = node.ge if node.ge is not None else node.gt
            return st.floats(
                above, node.le, allow_nan=False, allow_infinity=False, exclude_min=node.ge != above
            )
        case inspect.StrType(pattern=str()):
            return st.from_regex(node.pattern).filter(lambda text: len(text) <= node.max_length)
        case inspect.StrType():
            return st.text(min_size=node.min_length or 0, max_size=min(node.max_length, 20))
        case inspect.BytesType():
            return blobs_of(node.min_length or 0, node.max_length)
        case inspect.VarTupleType():
            low = node.min_length or 0
            return st.lists(
                values(node.item_type), min_size=low, max_size=min(low + 3, node.max_length)
            ).map(tuple)
        case inspect.TupleType(item_types=types):
            return st.tuples(*map(values, types))
    raise AssertionError(f"no strategy for {node}")


def blobs_of(low: int, high: int) -> st.SearchStrategy[bytes]:
    if high <= 64:
        return st.binary(min_size=low, max_size=high)
    sizes = st.sampled_from(sorted({low, min(low + 9, high), min(high, 5000)}))
    return st.builds(lambda size, byte: bytes([byte]) * size, sizes, st.integers(0, 255))


@cache
def messages(kind: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    """Any value of a message type that its bounds allow."""
    info = inspect.type_info(kind)
    assert isinstance(info, inspect.StructType)
    fields = {field.name: values(field.type) for field in info.fields}
    if kind is Bundle:
        fields["items"] = fields["items"].filter(one_update_at_most)
    return st.builds(kind, **fields)


def one_update_at_most(items: tuple[Message, ...]) -> bool:
    return sum(isinstance(item, Update | Piece) for item in items) < 2


anything = st.one_of(messages(kind) for kind in (*SIGNED_KINDS, *SEALED_KINDS))


@st.composite
def mutated(draw: st.DrawFn, data: bytes) -> bytes:
    """These bytes after up to four changes: a byte set, put in or taken out, or a tail swapped."""
    raw = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(raw) - 1, 0)))
        match draw(st.sampled_from("=+-~")):
            case "=":
                raw[at : at + 1] = bytes([draw(st.integers(0, 255))])
            case "+":
                raw[at:at] = draw(st.binary(min_size=1, max_size=9))
            case "-":
                del raw[at : at + draw(st.integers(1, 9))]
            case _:
                raw[at:] = draw(st.binary(max_size=40))
    return bytes(raw)


def hostile(*names: str) -> st.SearchStrategy[bytes]:
    """Bytes that are nothing at all, or nearly one of these cases."""
    near = st.sampled_from([encode(CASES[name]) for name in names]).flatmap(mutated)
    return st.binary(max_size=200) | st.binary(max_size=200).map(b"\1".__add__) | near


any_body = hostile(*SMALL_CASES)


def enveloped(body: bytes, signer: Identity) -> bytes:
    """A right signature over whatever body."""
    return bytes([1, 1]) + signer.sign(CONTEXT + body) + body


# --- values and bytes -----------------------------------------------------------------------------


@MANY
@given(anything)
def test_every_message_survives_the_wire_and_its_own_validation(message):
    validate(message)
    data = encode(message)
    assert decoded(data, type(message)) == message
    assert encode(decoded(data, type(message))) == data


@pytest.mark.parametrize("name", CASES)
def test_every_case_keeps_its_own_bounds(name):
    validate(CASES[name])


def test_a_message_made_here_that_breaks_a_bound_is_named_with_its_field():
    gone = Gone(fleet="f", box="Upper Case", session=1)
    with pytest.raises(LocalError, match=r"Gone: .*\$\[2\]"):
        validate(gone)


@pytest.mark.parametrize("kind", [*SIGNED_KINDS, *SEALED_KINDS])
def test_a_kind_opens_only_as_itself(kind):
    family = SEALED_KINDS if kind in SEALED_KINDS else SIGNED_KINDS
    data = next(encode(case) for case in CASES.values() if type(case) is kind)
    if family is SEALED_KINDS:
        with pytest.raises(RemoteError):
            decode_signed(data, Message)
        return
    with pytest.raises(RemoteError):
        decode_sealed(data)
    for other in SIGNED_KINDS:
        if other is not kind:
            with pytest.raises(RemoteError, match=f"a {kind.__name__} where a {other.__name__}"):
                decode_signed(data, other)


@pytest.mark.parametrize("name", SMALL_CASES)
def test_a_message_cut_anywhere_is_refused(name):
    data = encode(CASES[name])
    for size in range(len(data)):
        with pytest.raises(RemoteError):
            decoded(data[:size], type(CASES[name]))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("more", [b"\0", b"\xc0", b"\x90" * 40])
def test_a_message_with_bytes_after_it_is_refused(name, more):
    with pytest.raises(RemoteError):
        decoded(encode(CASES[name]) + more, type(CASES[name]))


def test_a_message_larger_than_any_publish_is_not_even_read():
    with pytest.raises(RemoteError, match="at most 131072 are read"):
        decode_sealed(b"\1" * (MAX_MESSAGE + 1))


@pytest.mark.parametrize("opening", [b"\x91", b"\x81", b"\xdc\xff\xff", b"\xdd\xff\xff\xff\xff"])
def test_nesting_without_end_is_refused(opening):
    deep = (opening * MAX_MESSAGE)[: MAX_MESSAGE - 3000]
    tag, *head, model = msgspec.to_builtins(CASES["task"], builtin_types=(bytes,))[:5]
    inside = b"\x97" + msgspec.msgpack.encode([tag, *head, [*model, None]])[1:-1] + deep
    for body in (b"\1" + deep, b"\1" + inside):
        assert value_or_refusal(decode_signed, body, Message) is None
        assert value_or_refusal(decode_sealed, body) is None


@MANY
@given(any_body)
def test_any_bytes_are_a_message_or_refused(body):
    value_or_refusal(decode_sealed, body)
    for kind in (Message, Birth, Task):
        message = value_or_refusal(decode_signed, body, kind)
        assert message is None or isinstance(message, kind)


@MANY
@given(any_body)
def test_whatever_decodes_can_be_said_again(body):
    for read in (decode_sealed, lambda data: decode_signed(data, Message)):
        message = value_or_refusal(read, body)
        if message is not None:
            assert decoded(encode(message), type(message)) == message


# --- envelopes ------------------------------------------------------------------------------------


@MANY
@given(any_body, any_body)
def test_any_envelope_is_opened_or_refused(noise, body):
    for kind in (Gone, Birth, Message):
        value_or_refusal(open_signed, noise, kind, BOX.public)
        value_or_refusal(open_signed, enveloped(body, BOX), kind, BOX.public)
        assert value_or_refusal(open_signed, enveloped(body, BOX), kind, ROOT.public) is None


@FEW
@given(hostile("state", "state-extreme"), hostile("key-record"))
def test_any_state_and_any_record_in_it_are_believed_or_refused(body, record):
    value_or_refusal(open_record, enveloped(record, ROOT), ROOT.public, 0)
    value_or_refusal(open_state, body, ROOT.public, 0)
    value_or_refusal(open_state, enveloped(body, COORDINATOR), ROOT.public, 0)
    for inner in (record, enveloped(record, ROOT)):
        state = msgspec.structs.replace(CASES["state"], record=inner[:512])
        value_or_refusal(open_state, sign(state, COORDINATOR), ROOT.public, 0)


# --- frames ---------------------------------------------------------------------------------------

FRAMES = [
    sealing.seal(encode(CASES["report-bare"]), b"epoch-id", FRAME_KEY, 5, None),
    sealing.seal(encode(CASES["update-empty"]), b"epoch-id", FRAME_KEY, 2**32 - 1, BOX),
]


@MANY
@given(st.binary(max_size=200) | st.sampled_from(FRAMES).flatmap(mutated))
def test_any_frame_is_opened_or_refused(frame):
    value_or_refusal(sealing.peek, frame)
    for signer in (None, BOX.public, b"", bytes(32)):
        opened = value_or_refusal(sealing.open_, frame, FRAME_KEY, signer)
        assert opened is None or frame in FRAMES


@FEW
@given(any_body)
def test_any_body_in_a_right_frame_is_a_message_or_refused(body):
    frame = sealing.seal(body, b"epoch-id", FRAME_KEY, 0, None)
    assert sealing.open_(frame, FRAME_KEY, None) == body
    value_or_refusal(decode_sealed, body)


@FEW
@given(st.binary(max_size=1400))
def test_any_kem_bytes_are_used_or_refused(noise):
    value_or_refusal(sealing.seal_to, noise, b"secret", b"context")
    value_or_refusal(sealing.seal_to, noise.ljust(1216, b"\0")[:1216], b"secret", b"context")
    assert value_or_refusal(KEM.open, noise, b"context") is None


@pytest.mark.parametrize("curve", [bytes(32), b"\1" + bytes(31)])
def test_a_kem_key_whose_curve_half_is_a_weak_point_is_refused(curve):
    with pytest.raises(RemoteError, match="not a usable KEM key"):
        sealing.seal_to(KEM.public[:1184] + curve, b"secret", b"context")


@FEW
@given(mutated(KEM_SEALED))
def test_an_altered_sealed_secret_is_refused(altered):
    if altered != KEM_SEALED:
        with pytest.raises(SealError):
            KEM.open(altered, b"context")


# --- the key exchange -----------------------------------------------------------------------------


def exchanged() -> tuple[exchange.Asked, exchange.Offered, exchange.Agreed]:
    kem = sealing.KemPair()
    birth = Birth(**MEMBER, session=1, kem=kem.public, era=None, turn=0, release="1")
    asked = exchange.ask(birth, kem, BOX)
    offered = exchange.offer(asked.birth, birth, ERA, COORDINATOR)
    key_offer = decode_signed(offered.offer[66:], Message)
    return asked, offered, exchange.accept(asked, offered.offer, key_offer, BOX, b"report")


ASKED, OFFERED, AGREED = exchanged()


@FEW
@given(st.data())
def test_any_accept_ends_the_exchange_or_is_refused(data):
    value_or_refusal(exchange.finish, OFFERED, data.draw(mutated(AGREED.accept)), BOX.public)
    body = data.draw(mutated(AGREED.accept[66:]))
    value_or_refusal(exchange.finish, OFFERED, enveloped(body, BOX), BOX.public)


@FEW
@given(st.binary(min_size=1216, max_size=1216))
def test_a_birth_with_any_kem_key_is_offered_to_or_refused(kem):
    birth = Birth(**MEMBER, session=1, kem=kem, era=None, turn=0, release="1")
    value_or_refusal(exchange.offer, sign(birth, BOX), birth, ERA, COORDINATOR)


@FEW
@given(st.data())
def test_any_key_offer_is_accepted_or_refused(data):
    body = data.draw(mutated(OFFERED.offer[66:]))
    key_offer = value_or_refusal(decode_signed, body, KeyOffer)
    if key_offer is not None:
        value_or_refusal(exchange.accept, ASKED, enveloped(body, COORDINATOR), key_offer, BOX, b"")


# --- joining --------------------------------------------------------------------------------------

REQUEST = joining.request(TOKEN, "box-1", BOX, KEM)
ANSWER = joining.answer(
    REQUEST,
    RECORD,
    COORDINATOR,
    Admission(fleet="fleet", box="box-1", username="u", password="p", ca=""),
)


@MANY
@given(st.text(max_size=60) | st.binary(max_size=120).map(lambda b: f"qf1.{b.hex()}"))
def test_any_text_is_a_token_or_a_configuration_error(text):
    for tried in (text, "qf1." + text):
        with suppress(ConfigError):
            assert isinstance(joining.parse_token(tried), joining.Token)


@MANY
@given(mutated(joining.token_text(TOKEN).encode()))
def test_a_mistyped_token_is_a_token_or_a_configuration_error(typed):
    with suppress(ConfigError):
        assert isinstance(joining.parse_token(typed.decode("latin-1")), joining.Token)


@MANY
@given(mutated(REQUEST), mutated(REQUEST[66:]))
def test_any_join_request_is_opened_or_refused(noise, body):
    for data in (noise, enveloped(body, BOX)):
        value_or_refusal(joining.token_of, data)
        assert value_or_refusal(joining.open_request, data, VERIFIER) is None or data == REQUEST
        value_or_refusal(joining.answer, data, RECORD, COORDINATOR, "no")


@FEW
@given(mutated(ANSWER), mutated(ANSWER[66:]), any_body)
def test_any_join_answer_is_opened_or_refused(noise, body, inner):
    for data in (noise, enveloped(body, COORDINATOR)):
        value_or_refusal(joining.open_answer, data, TOKEN, REQUEST, KEM)
    digest = decode_signed(ANSWER[66:], Message).request
    answer = msgspec.structs.replace(
        decode_signed(ANSWER[66:], Message),
        admission=sealing.seal_to(KEM.public, inner, digest),
    )
    value_or_refusal(joining.open_answer, sign(answer, COORDINATOR), TOKEN, REQUEST, KEM)


# --- names and blobs ------------------------------------------------------------------------------


@MANY
@given(st.text(max_size=200), st.sampled_from(["", "qf/v1/fleet/", "qf/v1/fleet/dev/"]))
def test_any_topic_is_levels_or_refused(text, before):
    levels = value_or_refusal(Topics("fleet").parse, before + text)
    assert levels is None or "/".join(("qf/v1/fleet", *levels)) == before + text


@MANY
@given(st.text(max_size=30) | st.text("abcdefghij234567", min_size=25, max_size=27))
def test_any_text_is_an_address_or_refused(text):
    address = value_or_refusal(from_base32, text)
    assert address is None or (len(address) == 16 and base32(address)[:25] == text[:25])


REF, SEALED = blobs.encrypt(b"model", KEY)


@MANY
@given(st.binary(max_size=100) | mutated(SEALED), st.integers(-2, 3), st.integers(0, 2**30))
def test_any_part_of_a_blob_is_taken_or_refused(data, index, size):
    for ref in (REF, BlobRef(digest=REF.digest, address=REF.address, size=size)):
        value_or_refusal(blobs.decrypt, ref, data, KEY)
        assembly = blobs.Assembly(ref)
        value_or_refusal(assembly.with_map, data)
        after = value_or_refusal(assembly.with_chunk, index, data)
        assert after is None or data == SEALED


def test_a_report_is_not_mistaken_for_what_it_is_not():
    body = encode(CASES["report-bare"])
    assert isinstance(decode_sealed(body), Report)
    with pytest.raises(RemoteError):
        decode_signed(body, Report)


def test_eras_are_ordered_by_their_number():
    assert Era(number=2, nonce=bytes(8)) > Era(number=1, nonce=b"\xff" * 8)
