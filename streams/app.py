"""The Faust application: two agents as thin loops around the units, and how it holds its places.

Faust gives the group membership, rebalancing, flow control and the life of the service. Where to
read from is not the group's committed offset but what the snapshots say, so `perform_seek` is
replaced; what is committed is what the snapshots cover, for those who watch the group's lag.
Faust's web views stay off; windows, `take`, tables and `exactly_once` are not used.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, cast

import faust
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, Message
from yarl import URL

from streams.kafka_config import KafkaConfig, ssl_context
from streams.kafka_live import Live
from streams.kafka_wire import record_of

__all__ = ["build_app"]

# A worker that restores much must not be thought dead meanwhile; its own thread sends heartbeats.
REBALANCE_S = 120.0
FETCH_BYTES = 4_194_304
BATCH = 256


class _App(faust.App):
    live: Live


class _Consumer(driver.Consumer):
    """Reads from where the units stand, whenever Faust seeks; hands on batches, not messages.

    A message's way through Faust (two tasks, a queue, an event) takes about 0.2 ms, so it goes
    that way with up to a few hundred others of its partition: as the last of them, which carries
    them in `batch`. A unit checks every offset (kafka_station), so nothing rests on Faust's count.
    """

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Message]]:
        records, active = await self._wait_next_records(timeout)
        generation = self.app.consumer_generation_id
        for tp, batch in (records or {}).items():
            for start in range(0, len(batch), BATCH):
                if not self.flow_active or generation != self.app.consumer_generation_id:
                    return
                if active is None or tp in active or tp in self._buffered_partitions:
                    part = batch[start : start + BATCH]
                    message = cast(Any, self._to_message(tp, part[-1]))
                    message.batch = part
                    yield tp, message

    async def perform_seek(self) -> None:
        live = cast(_App, self.app).live
        for tp in sorted(self.assignment()):
            offset = live.place(tp.topic, tp.partition)
            if offset is not None:
                await self._seek(tp, offset)
                self._read_offset[tp] = offset or None

    async def tell(self, places: dict[tuple[str, int], int]) -> None:
        """Commit offsets for those who watch. Faust's own way crashes if a rebalance comes between,
        and here a commit that fails is no harm.
        """
        await self._thread.call_thread(self._commit_owned, places)

    async def _commit_owned(self, places: dict[tuple[str, int], int]) -> None:
        consumer = self._thread._ensure_consumer()
        owned = {
            TopicPartition(topic, number): offset
            for (topic, number), offset in places.items()
            if TopicPartition(topic, number) in consumer.assignment()
        }
        if owned:
            with suppress(KafkaError):
                await consumer.commit(owned)


class _Transport(driver.Transport):
    Consumer = _Consumer


def build_app(config: KafkaConfig, live: Live) -> faust.App:
    """Return the application around `live`, not yet started."""
    brokers = [f"kafka://{server.strip()}" for server in config.bootstrap_servers.split(",")]
    app = _App(
        config.application,
        broker=brokers,
        broker_credentials=_credentials(config),
        broker_session_timeout=config.session_timeout_ms / 1000.0,
        broker_heartbeat_interval=min(3.0, config.session_timeout_ms / 4000.0),
        broker_rebalance_timeout=REBALANCE_S,
        broker_request_timeout=REBALANCE_S,
        broker_max_poll_interval=600.0,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=FETCH_BYTES,
        datadir=tempfile.gettempdir(),
        stream_buffer_maxsize=32,
        stream_recovery_delay=0.0,
        stream_wait_empty=False,
        topic_disable_leader=True,
        web_enabled=False,
    )
    app.transport = _Transport([URL(broker) for broker in brokers], app)
    app.live = live
    _attach(app, live)
    for name, topics in (("collect", config.input_topics), ("learn", [config.topic("messages")])):
        source = app.topic(*topics, key_serializer="raw", value_serializer="raw", value_type=bytes)
        app.agent(source, name=name)(_agent(app, live))
    return app


def _agent(app: faust.App, live: Live) -> Any:
    async def carry(stream: Any) -> None:
        async for event in stream.noack().events():
            message = event.message
            for one in message.batch:
                record = record_of(
                    one.topic, one.partition, one.offset, one.timestamp, one.value, one.headers
                )
                await live.take(record, message.generation_id)

    return carry


def _attach(app: faust.App, live: Live) -> None:
    """Connect what Faust tells with what `live` does, and the other way round."""

    @app.on_partitions_revoked.connect(weak=False)
    async def revoked(sender: Any, partitions: Any, **kwargs: Any) -> None:
        live.revoke()

    @app.on_rebalance_complete.connect(weak=False)
    async def settled(sender: Any, **kwargs: Any) -> None:
        generation = app.consumer_generation_id
        await live.assign(
            ((tp.topic, tp.partition) for tp in app.consumer.assignment()), generation
        )

    async def seek(topic: str, partition: int, offset: int) -> None:
        await app.consumer.seek(TP(topic, partition), offset)

    async def commit(places: dict[tuple[str, int], int]) -> None:
        await cast(_Consumer, app.consumer).tell(places)

    def highwater(topic: str, partition: int) -> int:
        return app.consumer.highwater(TP(topic, partition)) or 0

    live.seek, live.commit, live.highwater = seek, commit, highwater


def _credentials(config: KafkaConfig) -> Any:
    context = ssl_context(config)
    if config.security_protocol.startswith("SASL"):
        return faust.SASLCredentials(
            username=config.sasl_username,
            password=config.sasl_password,
            mechanism=config.sasl_mechanism,
            ssl_context=context,
        )
    return None if context is None else faust.SSLCredentials(context=context)
