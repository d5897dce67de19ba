"""What every `Port` promises, whatever is behind it. Run by test_transport_contract.py."""

import pytest

from proto.errors import LocalError, TransportError
from proto.transport import MAX_PAYLOAD, MAX_QUEUED, Connected, Delivery, Disconnected, Will
from tests.contracts.worlds import Peer, World, deliveries, expect, silence


def connected(world: World, client_id: str, *patterns: str, will: Will | None = None) -> Peer:
    peer = world.peer(client_id, *patterns, will=will)
    expect(world, peer, Connected)
    return peer


class TransportContract:
    """Subclasses give a `world` fixture."""

    def test_a_publish_reaches_a_subscriber_whole(self, world: World) -> None:
        receiver = connected(world, "receiver", f"{world.base}/up/+/m")
        sender = connected(world, "sender")
        sender.port.publish(f"{world.base}/up/box/m", bytes(range(256)))
        [delivery] = deliveries(world, receiver, 1)
        assert delivery.topic == f"{world.base}/up/box/m"
        assert delivery.payload == bytes(range(256))
        assert not delivery.retained

    def test_the_largest_payload_passes(self, world: World) -> None:
        peer = connected(world, "peer", f"{world.base}/#")
        payload = b"\xa5" * MAX_PAYLOAD
        peer.port.publish(f"{world.base}/blob", payload)
        assert deliveries(world, peer, 1)[0].payload == payload

    def test_a_larger_one_is_refused_and_later_ones_still_pass(self, world: World) -> None:
        peer = connected(world, "peer", f"{world.base}/#")
        with pytest.raises(TransportError, match="chunks"):
            peer.port.publish(f"{world.base}/blob", bytes(MAX_PAYLOAD + 1))
        peer.port.publish(f"{world.base}/blob", b"small")
        assert deliveries(world, peer, 1)[0].payload == b"small"

    def test_a_publish_to_a_pattern_is_refused(self, world: World) -> None:
        peer = world.peer("peer")
        for topic in ("", "a/+/b", "a/#"):
            with pytest.raises(LocalError, match="topic"):
                peer.port.publish(topic, b"")

    def test_a_malformed_pattern_is_refused(self, world: World) -> None:
        peer = world.peer("peer")
        for pattern in ("", "a/#/b", "a/b#", "a+/b"):
            with pytest.raises(LocalError, match="subscription"):
                peer.port.subscribe(pattern)

    def test_connected_means_that_subscriptions_stand(self, world: World) -> None:
        peer = connected(world, "peer", f"{world.base}/a", f"{world.base}/b/#")
        peer.port.publish(f"{world.base}/b/own", b"heard")
        assert deliveries(world, peer, 1)[0].payload == b"heard"

    def test_a_subscription_may_be_added_later(self, world: World) -> None:
        peer = connected(world, "peer", f"{world.base}/first")
        peer.port.subscribe(f"{world.base}/second")
        peer.port.publish(f"{world.base}/second", b"heard")
        assert deliveries(world, peer, 1)[0].topic == f"{world.base}/second"

    def test_a_subscription_may_be_taken_back(self, world: World) -> None:
        peer = connected(world, "peer", f"{world.base}/kept", f"{world.base}/gone")
        peer.port.subscribe(f"{world.base}/later")
        peer.port.unsubscribe(f"{world.base}/gone", f"{world.base}/later", f"{world.base}/never")
        for topic in ("gone", "later", "kept"):
            peer.port.publish(f"{world.base}/{topic}", b"")
        assert [d.topic for d in deliveries(world, peer, 1)] == [f"{world.base}/kept"]
        assert silence(world, peer) == []

    def test_a_subscription_taken_back_is_not_renewed(self, world: World) -> None:
        peer = connected(world, "peer", f"{world.base}/kept", f"{world.base}/gone")
        peer.port.unsubscribe(f"{world.base}/gone")
        peer.port.publish(f"{world.base}/kept", b"")
        deliveries(world, peer, 1)
        world.cut(peer)
        expect(world, peer, Disconnected)
        expect(world, peer, Connected)
        for topic in ("gone", "kept"):
            peer.port.publish(f"{world.base}/{topic}", b"again")
        heard = [*deliveries(world, peer, 1), *silence(world, peer)]  # the first may come twice
        assert {d.topic for d in heard} == {f"{world.base}/kept"}
        assert heard[-1].payload == b"again"

    def test_a_subscription_taken_back_may_be_made_again(self, world: World) -> None:
        peer = connected(world, "peer", f"{world.base}/a")
        peer.port.unsubscribe(f"{world.base}/a")
        peer.port.subscribe(f"{world.base}/a")
        peer.port.publish(f"{world.base}/a", b"heard")
        assert deliveries(world, peer, 1)[0].payload == b"heard"

    def test_nothing_is_queued_before_the_link_is_up(self, world: World) -> None:
        receiver = connected(world, "receiver", f"{world.base}/#")
        topic = f"{world.base}/x"
        sender = world.peer("sender", first=lambda port: port.publish(topic, b"too early"))
        expect(world, sender, Connected)
        sender.port.publish(topic, b"in time")
        assert deliveries(world, receiver, 1)[0].payload == b"in time"

    def test_a_retained_message_reaches_a_late_subscriber(self, world: World) -> None:
        sender = connected(world, "sender", f"{world.base}/#")
        sender.port.publish(f"{world.base}/state", b"old", retain=True)
        sender.port.publish(f"{world.base}/state", b"new", retain=True)
        deliveries(world, sender, 2)
        late = connected(world, "late", f"{world.base}/+")
        [delivery] = deliveries(world, late, 1)
        assert (delivery.payload, delivery.retained) == (b"new", True)

    def test_an_empty_retained_message_clears_it(self, world: World) -> None:
        sender = connected(world, "sender", f"{world.base}/#")
        sender.port.publish(f"{world.base}/state", b"old", retain=True)
        sender.port.publish(f"{world.base}/state", b"", retain=True)
        deliveries(world, sender, 2)
        late = connected(world, "late", f"{world.base}/+")
        assert silence(world, late) == []

    def test_a_will_is_left_by_a_killed_client(self, world: World) -> None:
        watcher = connected(world, "watcher", f"{world.base}/#")
        topic = f"{world.base}/dev/box/state"
        victim = connected(world, "victim", will=Will(topic, b"gone"))
        world.kill(victim)
        assert deliveries(world, watcher, 1)[0].payload == b"gone"
        late = connected(world, "late", f"{world.base}/#")
        assert deliveries(world, late, 1)[0].retained

    def test_no_will_is_left_by_a_client_that_says_goodbye(self, world: World) -> None:
        watcher = connected(world, "watcher", f"{world.base}/#")
        leaver = connected(world, "leaver", will=Will(f"{world.base}/state", b"gone"))
        leaver.port.publish(f"{world.base}/state", b"sleeping", retain=True)
        leaver.port.close()
        leaver.port.close()
        assert [d.payload for d in deliveries(world, watcher, 1)] == [b"sleeping"]
        assert silence(world, watcher) == []

    def test_a_delivery_not_acked_comes_again_and_an_acked_one_does_not(self, world: World) -> None:
        receiver = connected(world, "receiver", f"{world.base}/#")
        sender = connected(world, "sender")
        for number in range(4):
            sender.port.publish(f"{world.base}/x", b"%d" % number)
        first = [expect(world, receiver, Delivery) for _ in range(4)]
        for delivery in first[:2]:
            receiver.port.ack(delivery)
        receiver.port.publish(f"{world.base}/mark", b"mark")  # follows the acks on the same way
        assert expect(world, receiver, Delivery).payload == b"mark"
        world.kill(receiver)
        again = connected(world, "receiver", f"{world.base}/#")
        assert {d.payload for d in deliveries(world, again, 3)} == {b"2", b"3", b"mark"}
        assert silence(world, again) == []

    def test_acks_out_of_order_do_no_harm(self, world: World) -> None:
        peer = connected(world, "peer", f"{world.base}/#")
        for turn in range(3):
            for number in range(8):
                peer.port.publish(f"{world.base}/{turn}", b"%d" % number)
            batch = [expect(world, peer, Delivery) for _ in range(8)]
            for delivery in reversed(batch):
                peer.port.ack(delivery)
        assert silence(world, peer) == []

    def test_what_was_not_acked_comes_again_when_the_link_breaks(self, world: World) -> None:
        receiver = connected(world, "receiver", f"{world.base}/#")
        connected(world, "sender").port.publish(f"{world.base}/x", b"kept")
        stale = expect(world, receiver, Delivery)
        world.cut(receiver)
        expect(world, receiver, Disconnected)
        receiver.port.ack(stale)  # belongs to the broken link, so it settles nothing
        assert deliveries(world, receiver, 1)[0].payload == b"kept"

    def test_messages_wait_for_a_client_that_is_away(self, world: World) -> None:
        world.kill(connected(world, "receiver", f"{world.base}/#"))
        sender = connected(world, "sender", f"{world.base}/#")
        for number in range(30):
            sender.port.publish(f"{world.base}/x", b"%02d" % number)
        deliveries(world, sender, 30)
        back = connected(world, "receiver", f"{world.base}/#")
        assert {d.payload for d in deliveries(world, back, 30)} == {b"%02d" % n for n in range(30)}

    def test_all_of_many_publishes_arrive(self, world: World) -> None:
        receiver = connected(world, "receiver", f"{world.base}/#")
        sender = connected(world, "sender")
        for number in range(300):
            sender.port.publish(f"{world.base}/x", b"%03d" % number)
        assert {int(d.payload) for d in deliveries(world, receiver, 300)} == set(range(300))

    def test_a_flood_is_refused_at_the_queue_and_passes_later(self, world: World) -> None:
        peer = connected(world, "peer", f"{world.base}/#")
        accepted = 0
        try:
            while accepted < 10 * MAX_QUEUED:
                peer.port.publish(f"{world.base}/x", bytes(1000))
                accepted += 1
        except TransportError as refusal:
            assert "later" in str(refusal)  # noqa: PT017 - the count is of interest too
        assert MAX_QUEUED <= accepted < 10 * MAX_QUEUED
        deliveries(world, peer, accepted)
        peer.port.publish(f"{world.base}/end", b"")
        assert deliveries(world, peer, 1)[0].topic == f"{world.base}/end"

    def test_after_a_cut_all_that_is_sent_on_connected_arrives(self, world: World) -> None:
        receiver = connected(world, "receiver", f"{world.base}/#")
        sender = connected(world, "sender")
        for turn in range(3):
            world.cut(sender)
            assert expect(world, sender, Disconnected).reason
            expect(world, sender, Connected)
            for number in range(20):
                sender.port.publish(f"{world.base}/{turn}", b"%d" % number)
            assert {int(d.payload) for d in deliveries(world, receiver, 20)} == set(range(20))

    def test_subscriptions_are_renewed_when_the_broker_comes_back(self, world: World) -> None:
        peer = connected(world, "peer", f"{world.base}/#")
        world.restart_broker()
        expect(world, peer, Disconnected)
        expect(world, peer, Connected)
        peer.port.publish(f"{world.base}/x", b"back")
        assert deliveries(world, peer, 1)[0].payload == b"back"

    def test_a_shared_subscription_gives_each_message_to_one(self, world: World) -> None:
        pattern = f"$share/coord/{world.base}/up/#"
        first, second = (connected(world, name, pattern) for name in ("first", "second"))
        sender = connected(world, "sender")
        for number in range(20):
            sender.port.publish(f"{world.base}/up/x", b"%02d" % number)
        taken = []
        while len(taken) < 20:
            for peer in (first, second):
                batch = silence(world, peer)
                for delivery in batch:
                    peer.port.ack(delivery)
                taken += [(peer.client_id, delivery.payload) for delivery in batch]
        assert {payload for _, payload in taken} == {b"%02d" % n for n in range(20)}
        assert len(taken) == 20
        assert len({name for name, _ in taken}) == 2

    def test_a_second_client_with_the_same_id_displaces_the_first(self, world: World) -> None:
        first = connected(world, "twin", f"{world.base}/#")
        connected(world, "twin", f"{world.base}/#")
        assert expect(world, first, Disconnected).reason

    def test_nothing_is_handed_over_after_close(self, world: World) -> None:
        receiver = connected(world, "receiver", f"{world.base}/#")
        sender = connected(world, "sender", f"{world.base}/#")
        receiver.port.close()
        sender.port.publish(f"{world.base}/x", b"")
        deliveries(world, sender, 1)
        assert silence(world, receiver) == []
        receiver.port.publish(f"{world.base}/x", b"")
        receiver.port.subscribe(f"{world.base}/y")
