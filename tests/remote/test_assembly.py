"""Packets to pictures: order, loss, and what a stream begins with."""

import itertools
import random
from dataclasses import dataclass

import pytest

from stream.remote.transport.assembly import GIVE_UP, KEY_SECONDS, PATIENCE, Assembler, EncodedPicture


@dataclass
class Fake:
    sequence_number: int
    timestamp: int
    marker: int
    payload: bytes
    _data: bytes


class Stream:
    """Packets of VP8 pictures of three packets each; the clock is told."""

    def __init__(self, first: int = 65_500) -> None:
        self.given: list[EncodedPicture] = []
        self.assembler = Assembler(self.given.append)
        self.number, self.time, self.now = first, 2**32 - 9000, 0.0

    def picture(self, key: bool = False, parts: int = 3) -> list[Fake]:
        packets = []
        for part in range(parts):
            data = bytes([0 if key else 1, part]) if part == 0 else bytes([255, part])
            head = b"\x10" if part == 0 else b"\x00"
            last = int(part == parts - 1)
            packets.append(Fake(self.number % 2**16, self.time % 2**32, last, head + data, data))
            self.number += 1
        self.time += 3000
        return packets

    def send(self, packets: list[Fake], seconds: float = 0.0) -> list[bool]:
        self.now += seconds
        return [self.assembler.add(packet, "VP8", self.now) for packet in packets]


def test_a_picture_is_given_with_its_last_packet() -> None:
    stream = Stream()
    first = stream.picture(key=True)
    stream.send(first[:2])
    assert stream.given == []
    stream.send(first[2:], 0.01)
    (picture,) = stream.given
    assert (picture.data, picture.key, picture.arrival) == (b"\x00\x00\xff\x01\xff\x02", True, 0.0)


def test_order_is_restored_across_the_wrap_of_numbers_and_times() -> None:
    stream, shuffled = Stream(), random.Random(3)
    stream.send(stream.picture(key=True))
    packets = [packet for _ in range(40) for packet in stream.picture()]
    for begin in range(0, len(packets), 10):
        some = packets[begin : begin + 10]
        shuffled.shuffle(some)
        stream.send(some + some[:3], 0.01)  # and some twice
    assert len(stream.given) == 41
    times = [picture.rtp for picture in stream.given]
    assert all((after - before) % 2**32 == 3000 for before, after in itertools.pairwise(times))
    assert stream.assembler.given_up == 0


def test_a_picture_without_marker_ends_with_the_next_one() -> None:
    stream = Stream()
    packets = stream.picture(key=True)
    packets[-1].marker = 0
    stream.send(packets)
    assert stream.given == []
    stream.send(stream.picture())
    assert len(stream.given) == 2


def test_padding_is_no_picture() -> None:
    stream = Stream()
    stream.send(stream.picture(key=True))
    padding = Fake(stream.number % 2**16, stream.given[0].rtp, 0, b"", b"")
    stream.number += 1
    stream.send([padding, *stream.picture()])
    assert [len(picture.data) for picture in stream.given] == [6, 6]


def test_a_late_packet_is_waited_for() -> None:
    stream = Stream()
    stream.send(stream.picture(key=True))
    second, third = stream.picture(), stream.picture()
    stream.send([second[0], second[2], *third], 0.03)
    assert len(stream.given) == 1
    assert stream.assembler.missing(stream.now)
    assert not stream.assembler.missing(stream.now + 0.01)
    assert stream.assembler.missing(stream.now + 0.1)
    stream.send([second[1]], GIVE_UP / 2)
    assert len(stream.given) == 3
    assert not stream.assembler.missing(stream.now + 1)


def test_a_lost_packet_costs_the_pictures_up_to_the_next_key_frame() -> None:
    stream = Stream()
    stream.send(stream.picture(key=True))
    broken = stream.picture()
    stream.send([broken[0], broken[2]])
    assert stream.send(stream.picture(), GIVE_UP + 0.01)[0], "a key frame is asked for at once"
    assert not any(stream.send(stream.picture(), 0.03)), "but not with every packet"
    assert stream.send(stream.picture(), KEY_SECONDS)[0], "and again when none came"
    assert len(stream.given) == 1
    stream.send(stream.picture(key=True), 0.03)
    stream.send(stream.picture())
    assert [picture.key for picture in stream.given] == [True, True, False]
    assert stream.assembler.given_up == 1


def test_a_key_frame_behind_the_gap_is_used() -> None:
    stream = Stream()
    stream.send(stream.picture(key=True))
    stream.send(stream.picture()[:1] + stream.picture(key=True) + stream.picture())
    stream.send(stream.picture(), GIVE_UP + 0.01)
    stream.send(stream.picture(), GIVE_UP + 0.01)
    assert [picture.key for picture in stream.given] == [True, True, False, False, False]


def test_a_broken_key_frame_is_not_begun_again() -> None:
    stream = Stream()
    stream.send(stream.picture(key=True)[:2])
    for _ in range(4):
        stream.send(stream.picture(), GIVE_UP)
    assert stream.given == []
    assert stream.assembler.given_up == 1


def test_a_stream_begins_with_a_key_frame() -> None:
    stream = Stream()
    asked = stream.send(stream.picture()) + stream.send(stream.picture())
    assert asked == [True, False, False, False, False, False]
    stream.send(stream.picture(key=True))
    assert len(stream.given) == 1


def test_a_stream_that_begins_anew_elsewhere_is_followed() -> None:
    stream = Stream()
    stream.send(stream.picture(key=True))
    stream.number += 20_000
    stream.send(stream.picture(key=True) + stream.picture())
    stream.number -= 10_000
    stream.send(stream.picture(key=True) + stream.picture())
    assert len(stream.given) == 5


@pytest.mark.parametrize("kinds", [[7, 8, 5], [5, 1, 1]])
def test_h264_begins_with_parameters_or_an_idr(kinds: list[int]) -> None:
    given: list[EncodedPicture] = []
    assembler = Assembler(given.append)
    begun = [Fake(9, 900, 1, b"x", b"\x00\x00\x00\x01\x61x")]
    begun += [
        Fake(10 + i, 1000, int(i == 2), b"x", b"\x00\x00\x00\x01" + bytes([0x60 | kind]) + b"x")
        for i, kind in enumerate(kinds)
    ]
    for packet in begun:
        assembler.add(packet, "H264", 0.0)
    assert [picture.key for picture in given] == [True]


def test_h264_without_key_frames_begins_anywhere_in_the_end() -> None:
    given: list[EncodedPicture] = []
    assembler = Assembler(given.append)
    for number in range(200):
        assembler.add(Fake(number, number * 3000, 1, b"x", b"\x00\x00\x00\x01\x61x"), "H264", number / 30)
    assert len(given) == 200 - int(PATIENCE * 30) - 1


def test_what_is_kept_is_bounded() -> None:
    stream = Stream()
    for _ in range(2000):
        stream.send(stream.picture())
    assert len(stream.assembler._packets) <= 512
    stream.send(stream.picture(key=True))
    stream.picture()
    for _ in range(2000):
        stream.send(stream.picture())
    assert len(stream.assembler._packets) <= 1024
