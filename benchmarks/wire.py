"""What one sealed, durable 21-parameter update costs on the wire: CPU of both ends and the broker.

    python benchmarks/wire.py --json

A real coordinator process, a real mosquitto, and real box processes (session table, outbox on
disk, sealing, MQTT). Only the training is left out: its result is made up at once. Counted from the
first training round's offer to the last round's end, with offers, reports, acks and folding; ids
have the greatest length allowed.

`paho_us_per_message` is the yardstick of the machine and the moment: plain paho's CPU for one
message. The project's notes were taken where that was 95.
"""

import argparse
import json
import queue
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import psutil
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

from coordinator.store import Store
from coordinator.submit import submit
from coordinator.taskfile import Data, RoundsTable, TaskFile
from edge_client import config, readings
from edge_client.agent import Loop, url_of
from edge_client.box import Box, Setting
from edge_client.labour import carry_out
from edge_client.membership import load_member
from edge_client.requests import Assignment, Done, Request
from firmware_sim.processes import Processes
from proto.broker_url import BrokerUrl
from proto.circuit import classifier_layout
from proto.codec import decode_signed, encode
from proto.identity import Identity
from proto.messages import TRAIN, Metrics, Task, Update
from proto.mqtt import MqttPort, MqttSettings
from proto.sealing import Key, seal
from quantization.arrays import draw
from quantization.pack import pack
from quantization.scheme import Scheme

LONG = "x" * 24
YARDSTICK = 3000
PATIENCE_S = 300
COLUMNS = ("a", "b", "c", "d", "e")


class Instant:
    """Stands where training would: moments are real, a training round's delta is drawn."""

    def __init__(self, deliver: Callable[[object], None]) -> None:
        self._deliver = deliver
        self._rng = np.random.default_rng(0)
        self._payload = b""

    def submit(self, request: Request) -> None:
        self._deliver(self._made_up(request) or carry_out(request))

    def cancel(self) -> None:
        return

    def _made_up(self, request: Request) -> Done | None:
        if not isinstance(request, Assignment):
            return None
        offer = request.offer
        if offer.kind != TRAIN:
            return None
        if not self._payload:
            layout = classifier_layout(decode_signed(request.task, Task).model)
            self._payload = pack(draw(layout, 0.1, self._rng), layout, Scheme(), self._rng)
        numbers = [0.5, 0.4, 0.6, 0.7]
        metrics = Metrics(
            first_loss=numbers[0],
            last_loss=numbers[1],
            validation_loss=numbers[2],
            validation_accuracy=numbers[3],
            validation_rows=8,
            steps=10,
            gradients=10,
        )
        update = Update(
            id=request.id,
            turn=offer.turn,
            model=offer.model.digest,
            rows=32,
            payload=self._payload,
            metrics=metrics,
        )
        return Done(offer.turn, update)


def serve_box(home: Path) -> None:
    """A box as its agent runs it, but for the training."""
    member, identity = load_member(home)
    own = config.load(home)
    box = Box(
        Setting(
            home=home,
            member=member,
            identity=identity,
            config=own,
            now=time.monotonic,
            clock=time.time,
            resources=readings.Board(home, own, time.monotonic).read,
        )
    )
    loop = Loop(box)
    settings = MqttSettings(url=url_of(member), client_id=member.box, will=box.will)
    port = MqttPort(settings, loop.take, loop.work)
    box.attach(port, Instant(port.post))
    signal.signal(signal.SIGTERM, lambda *_: port.post(None))
    port.run()
    if loop.error is not None:
        raise loop.error


def start_box(home: Path) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, __file__, "--box", str(home)])


def write_rows(path: Path, seed: int) -> None:
    X = np.random.default_rng(seed).normal(size=(40, 5))
    lines = [",".join(map(repr, row.tolist())) + f",{'yes' if row[0] > 0 else 'no'}" for row in X]
    path.write_text(",".join(COLUMNS) + ",label\n" + "\n".join(lines))


def wait_until(boxes: list[subprocess.Popen], condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + PATIENCE_S
    while not condition():
        if any(box.poll() is not None for box in boxes):
            sys.exit("a box has ended; what it said is above")
        if time.monotonic() > give_up:
            sys.exit(f"not there after {PATIENCE_S} s; what coordinator and boxes said is above")
        time.sleep(0.1)


def store_url(store: Store) -> BrokerUrl:
    return BrokerUrl.parse((store.fact("url") or b"").decode())


def cpu(processes: list[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def measure(clients: int, rounds: int, kind: str) -> dict[str, object]:
    task = TaskFile(
        job="j" * 32,
        data=Data(classes=("no", "yes"), columns=COLUMNS),
        rounds=RoundsTable(count=rounds, cohort=clients, quorum=clients, deadline="60s"),
    )
    home = Path(tempfile.mkdtemp(prefix="qfleet-wire-"))
    with Processes(home, "f" * 32, ("--kind", kind)) as fleet:
        store = fleet.start_coordinator()
        names = [f"{LONG}-{number:07d}" for number in range(clients)]
        for number, name in enumerate(names):
            write_rows(home / f"{number}.csv", number)
            fleet.join(name, str(home / f"{number}.csv"), "label")
        boxes = [start_box(home / name) for name in names]
        until = partial(wait_until, boxes)
        submit(store, task, "f" * 32, time.time())
        training = partial(_phase, store, task.job, "train")
        until(training)
        coordinator = psutil.Process(fleet.pid("coordinator"))
        broker = coordinator.children()[0]
        groups = [[psutil.Process(b.pid) for b in boxes], [coordinator], [broker]]
        before, began = [cpu(g) for g in groups], time.monotonic()
        skipped = sum(r.included for r in store.rounds(task.job) if r.kind == 1)
        until(partial(_phase, store, task.job, "finished"))
        wall = time.monotonic() - began
        spent = [cpu(g) - b for g, b in zip(groups, before, strict=True)]
        done = [r for r in store.rounds(task.job) if r.kind == 1 and r.outcome == "done"]
        yardstick = paho_us(store_url(store))
        for box in boxes:
            box.terminate()
            box.wait(10)
        broker_name = (store.fact("broker") or b"").decode()
        store.close()
    updates = sum(r.included for r in done) - skipped
    cpu_ms = 1000 * sum(spent) / updates
    last = done[1:]
    up = sum(r.bytes_up for r in last) / sum(r.included for r in last)
    down = sum(r.bytes_down for r in last) / sum(r.included for r in last)
    names = ("client", "coordinator", "broker")
    return {
        "cpu_ms_per_update": round(cpu_ms, 3),
        "paho_us_per_message": round(yardstick, 1),
        "paho_messages_per_update": round(1000 * cpu_ms / yardstick, 1),
        **{f"cpu_ms_{n}": round(1000 * s / updates, 3) for n, s in zip(names, spent, strict=True)},
        "updates_per_s": round(updates / wall, 1),
        "bytes_per_update": largest_update(),
        "bytes_up": round(up, 1),
        "bytes_down": round(down, 1),
        "bytes_round_trip": round(up + down, 1),
        "broker": broker_name,
        "durable": True,
        "updates": updates,
        "clients": clients,
        "seconds": round(wall, 2),
    }


def paho_us(url: BrokerUrl) -> float:
    """CPU microseconds of plain paho for one 250-byte QoS 1 message, published and received.

    A yardstick: machines and their load differ, ratios less so.
    """
    arrived: queue.SimpleQueue = queue.SimpleQueue()
    clients = []
    for name in ("from", "to"):
        client = Client(CallbackAPIVersion.VERSION2, name, protocol=MQTTv5)
        client.on_subscribe = lambda *_: arrived.put("subscribed")
        client.on_message = lambda *_: arrived.put("message")
        client.connect(url.host, url.port)
        client.loop_start()
        clients.append(client)
    clients[1].subscribe("yardstick", 1)
    arrived.get(timeout=10)
    before, sent = time.process_time(), 0
    for received in range(YARDSTICK):
        while sent < min(received + 20, YARDSTICK):
            clients[0].publish("yardstick", bytes(250), 1)
            sent += 1
        arrived.get(timeout=10)
    spent = time.process_time() - before
    for client in clients:
        client.disconnect()
        client.loop_stop()
    return 1e6 * spent / YARDSTICK


def _phase(store: Store, job: str, wanted: str) -> bool:
    if wanted == "train":
        return any(r.kind == 1 for r in store.rounds(job))
    return store.job(job).phase == wanted


def largest_update() -> int:
    """MQTT payload bytes of a signed 21-parameter 8-bit update with the largest counters."""
    metrics = Metrics(
        first_loss=0.1,
        last_loss=0.1,
        validation_loss=0.1,
        validation_accuracy=0.1,
        validation_rows=2**31,
        steps=2**31,
        evaluations=2**40,
        gradients=2**40,
        shots=2**40,
    )
    update = Update(
        id=secrets.token_bytes(16),
        turn=2**40,
        model=bytes(32),
        rows=2**20,
        payload=bytes(26),
        metrics=metrics,
    )
    return len(seal(encode(update), bytes(8), Key(bytes(32)), 2**31, Identity.generate()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--kind", default="mosquitto")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--box", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.box:
        serve_box(arguments.box)
        return
    result = measure(arguments.clients, arguments.rounds, arguments.kind)
    if arguments.json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        print(f"{name:20} {value}")


if __name__ == "__main__":
    main()
