import assert from "node:assert/strict";
import { test } from "node:test";

import { mediaDifference, mediaTime, ServerClock } from "../src/protocol/clock";
import { depthsOf, MeshDecoder } from "../src/protocol/codec";
import { ProtocolError } from "../src/protocol/errors";
import { readExpression, readPicture } from "../src/protocol/expression";
import { HEADER_BYTES, MAX_DATAGRAM, Reassembler, WAITING, WAITING_BYTES } from "../src/protocol/fragments";
import { MAX_BYTES, readMessage } from "../src/protocol/messages";
import { Receiver } from "../src/protocol/receiver";
import type { Expression, Surface } from "../src/protocol/types";
import { datagrams, described, levels, random } from "./vectors";

const meshes = described.messages.filter(({ kind }) => kind === 1);

function bodyOf(place: number): Uint8Array {
  const reassembler = new Reassembler();
  const whole = datagrams[place].map((datagram) => reassembler.accept(datagram)).at(-1);
  assert.ok(whole);
  return whole.body;
}

function fragment(sequence: number, number: number, count: number, size = MAX_DATAGRAM, lane = 0): Uint8Array {
  const datagram = new Uint8Array(size);
  const view = new DataView(datagram.buffer);
  datagram.set([1, 1, lane, 0]);
  view.setUint32(4, sequence, true);
  view.setUint16(8, number, true);
  view.setUint16(10, count, true);
  return datagram;
}

test("surfaces of the Python encoder come out level by level, delta frames too", () => {
  assert.ok(meshes.some(({ key }) => key) && meshes.some(({ key }) => !key));
  assert.ok(meshes.some(({ size }) => size % 2));
  const surfaces: Surface[] = [];
  const receiver = new Receiver(false, {
    surface: (_, __, surface) => surfaces.push(surface),
    expression: () => {},
    picture: () => assert.fail(),
  });
  datagrams.flat().forEach((datagram) => receiver.accept(datagram));
  assert.equal(receiver.lost, 0);
  assert.equal(receiver.messages, described.messages.length);
  assert.equal(surfaces.length, meshes.length);
  surfaces.forEach((surface, place) => {
    const expected = meshes[place];
    for (const name of ["index", "captured", "track", "size", "bits"] as const) {
      assert.equal(surface[name], expected[name], name);
    }
    assert.deepEqual(surface.levels, levels[place]);
    assert.deepEqual(Object.values(surface.crop), expected.crop);
    assert.deepEqual(surface.pose, expected.pose);
    assert.equal(mediaTime(surface.captured), expected.media_time);
    const depths = depthsOf(surface).filter((depth) => !Number.isNaN(depth));
    assert.equal(depths.length, expected.surface);
    const sum = depths.reduce((total, depth) => total + depth, 0);
    assert.ok(Math.abs(sum - expected.depth_sum) < 1e-5 * depths.length, `${sum} ${expected.depth_sum}`);
  });
});

test("an expression of the Python encoder comes out", () => {
  const place = described.messages.findIndex(({ kind }) => kind === 2);
  const expected = described.messages[place];
  const { coefficients, rotation, translation, ...rest }: Expression = readExpression(bodyOf(place));
  assert.deepEqual([rest.index, rest.captured, rest.track], [expected.index, expected.captured, expected.track]);
  coefficients.forEach((value, i) => assert.ok(Math.abs(value - expected.coefficients[i]) < 1e-6));
  rotation.forEach((value, i) => assert.ok(Math.abs(value - expected.rotation[i]) < 1e-6));
  assert.deepEqual(translation, expected.translation);
  assert.equal(described.names.length, coefficients.length);
});

test("a delta without its key frame asks for one, and stale frames are not shown", () => {
  const delta = meshes.findIndex(({ key }) => !key);
  const decoder = new MeshDecoder();
  assert.equal(decoder.decode(meshes[delta].sequence, bodyOf(delta)), null);
  assert.ok(decoder.needsKey);
  const key = meshes.findIndex(({ key }) => key);
  assert.ok(decoder.decode(50, bodyOf(key)));
  assert.ok(!decoder.needsKey);
  assert.equal(decoder.decode(49, bodyOf(key)), null);
  assert.equal(decoder.decode(50, bodyOf(key)), null);
});

test("a late key frame is learnt from but not shown", () => {
  const key = meshes.findIndex(({ key }) => key);
  const delta = meshes.findIndex(({ key }) => !key);
  const decoder = new MeshDecoder();
  assert.ok(decoder.decode(90, bodyOf(meshes.findLastIndex(({ key }) => key))));
  assert.equal(decoder.decode(meshes[key].sequence, bodyOf(key)), null);
  assert.ok(decoder.decode(91, bodyOf(delta)));
});

test("fragments in any order, repeated, make one message", () => {
  const place = datagrams.findIndex((parts) => parts.length > 2);
  const reassembler = new Reassembler();
  const parts = [...datagrams[place]].reverse();
  const results = parts.flatMap((part) => [reassembler.accept(part), reassembler.accept(part)]);
  assert.equal(results.filter((message) => message !== null).length, 1);
  assert.deepEqual(results.find((message) => message !== null)!.body, bodyOf(place));
});

test("incomplete messages are given up, the oldest first, and never taken again", () => {
  const reassembler = new Reassembler();
  for (let sequence = 1; sequence <= WAITING + 3; sequence++) reassembler.accept(fragment(sequence, 0, 2));
  assert.equal(reassembler.givenUp, 3);
  assert.equal(reassembler.accept(fragment(3, 1, 2, 20)), null);
  assert.ok(reassembler.accept(fragment(4, 1, 2, 20)));
});

test("what waits has a bound in bytes", () => {
  const reassembler = new Reassembler();
  const room = MAX_DATAGRAM - HEADER_BYTES;
  for (let lane = 0; lane < 16; lane++) {
    for (let number = 0; number < 511; number++) reassembler.accept(fragment(1, number, 512, MAX_DATAGRAM, lane));
  }
  assert.equal(reassembler.givenUp, 16 - Math.floor(WAITING_BYTES / (511 * room)));
});

test("of all lanes together the oldest is given up first", () => {
  const reassembler = new Reassembler();
  reassembler.accept(fragment(1, 0, 2));
  for (let sequence = 2; sequence < 2 + WAITING; sequence++) {
    for (let number = 0; number < 511; number++) reassembler.accept(fragment(sequence, number, 512, MAX_DATAGRAM, 1));
  }
  assert.equal(reassembler.accept(fragment(1, 1, 2, 20)), null);
});

test("datagrams that cannot be are refused", () => {
  const whole = () => fragment(1, 0, 1, 40);
  const changed = (place: number, value: number) => {
    const datagram = whole();
    datagram[place] = value;
    return datagram;
  };
  const bad = [
    new Uint8Array(0),
    new Uint8Array(HEADER_BYTES),
    new Uint8Array(MAX_DATAGRAM + 1),
    changed(0, 2),
    changed(1, 0),
    changed(1, 4),
    changed(2, 16),
    changed(3, 1),
    changed(4, 0),
    changed(8, 1),
    fragment(1, 0, 513),
    fragment(1, 0, 2, 40),
  ];
  for (const datagram of bad) assert.throws(() => new Reassembler().accept(datagram), ProtocolError);
  const reassembler = new Reassembler();
  reassembler.accept(fragment(1, 0, 3));
  assert.throws(() => reassembler.accept(fragment(1, 1, 4)), ProtocolError);
});

test("hostile bytes give typed errors only, quickly", () => {
  const next = random(7);
  const bodies = meshes.map((_, place) => bodyOf(place));
  let refused = 0;
  const started = performance.now();
  for (let round = 0; round < 4000; round++) {
    const body = bodies[round % bodies.length].slice();
    for (let change = 0; change <= next() * 6; change++) {
      body[Math.floor((round % 3 ? 120 : 0) + next() * (body.length - 120))] = Math.floor(next() * 256);
    }
    const cut = next() < 0.2 ? body.subarray(0, Math.floor(next() * body.length)) : body;
    const decoder = new MeshDecoder();
    try {
      const surface = decoder.decode(1, cut);
      if (surface) assert.ok(surface.levels.every((level) => level < 2 ** surface.bits));
    } catch (error) {
      assert.ok(error instanceof ProtocolError, String(error));
      refused += 1;
    }
  }
  assert.ok(refused > 500, `${refused} refused`);
  assert.ok(performance.now() - started < 20_000);
});

test("a Zstandard frame that claims endless matches is refused at once", () => {
  // One block of 98,000 sequences of 131,074 bytes each, all tables of one symbol: 12 GB of work in 40 bytes.
  const content = 2 * 48 * 48;
  const key = bodyOf(0).slice(0, 120);
  const block = [8, 65, 255, 255, 255, 0x54, 0, 2, 52, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1];
  const size = (block.length << 3) | (2 << 1) | 1;
  const frame = [0x28, 0xb5, 0x2f, 0xfd, 0x60, (content - 256) & 255, (content - 256) >> 8, size & 255, size >> 8, 0];
  const started = performance.now();
  const decoder = new MeshDecoder();
  assert.throws(() => decoder.decode(1, new Uint8Array([...key, ...frame, ...block])), /cannot be decompressed/);
  assert.ok(performance.now() - started < 200);
});

test("frames behind the frame, and other sizes, are refused", () => {
  const body = bodyOf(0);
  assert.throws(() => new MeshDecoder().decode(1, new Uint8Array([...body, 0])), ProtocolError);
  assert.throws(() => new MeshDecoder().decode(1, new Uint8Array([...body, ...body.slice(120)])), ProtocolError);
  const other = body.slice();
  other[2] += 1;
  assert.throws(() => new MeshDecoder().decode(1, other), /another size/);
});

test("control messages are checked; unknown types and keys are passed over", () => {
  assert.deepEqual(readMessage('{"type":"clock","rtp":4294967295,"more":1}'), { type: "clock", rtp: 4294967295, more: 1 });
  assert.equal(readMessage('{"type":"weather"}'), null);
  assert.equal(readMessage('{"type":"toString"}'), null);
  const hello = { type: "hello", protocol: 1, session: "a", size: 128, key_seconds: 2, expressions: described.names };
  assert.deepEqual(readMessage(JSON.stringify(hello)), hello);
  const bad = [
    "",
    "[]",
    "null",
    '"hello"',
    '{"type":"clock","rtp":-1}',
    '{"type":"clock","rtp":"1"}',
    '{"type":"state","state":"gone","faces":0,"viewers":0}',
    '{"type":"state","state":"live","faces":17,"viewers":0}',
    '{"type":"pong","time":1e999,"server":1}',
    '{"type":"pong","time":1}',
    JSON.stringify({ ...hello, expressions: [1] }),
    JSON.stringify({ ...hello, session: "x".repeat(65) }),
    `{"type":"pong","time":1,"server":1,"pad":"${"x".repeat(MAX_BYTES)}"}`,
    "[".repeat(MAX_BYTES),
  ];
  for (const text of bad) assert.throws(() => readMessage(text), ProtocolError, text.slice(0, 60));
});

test("texture and expression messages are checked", () => {
  const texture = new Uint8Array([1, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 2, 0, 2, 0, 0xff, 0xd8, 5]);
  assert.deepEqual([...readPicture(texture).jpeg], [0xff, 0xd8, 5]);
  assert.equal(readPicture(texture).captured, 9);
  assert.throws(() => readPicture(texture.subarray(0, 16)), ProtocolError);
  assert.throws(() => readPicture(texture.with(17, 0)), ProtocolError);
  assert.throws(() => readPicture(texture.with(12, 0)), ProtocolError);
  assert.throws(() => readExpression(new Uint8Array(163)), ProtocolError);
  assert.throws(() => readExpression(new Uint8Array(164)), ProtocolError);
});

test("media times are exact and wrap", () => {
  assert.equal(mediaTime(1_795_000_000_123_457), Number(((1_795_000_000_123_457n * 9n) / 100n) % 2n ** 32n));
  assert.equal(mediaDifference(5, 2 ** 32 - 5), 10);
  assert.equal(mediaDifference(2 ** 32 - 5, 5), -10);
});

test("the server's clock lies within the bounds of all pings", () => {
  const clock = new ServerClock();
  assert.equal(clock.since(0, 0), null);
  // The server's clock is 4,900 ms ahead, and a ping takes 1 ms to it; a capture was 10 ms ago.
  for (const back of [3, 40, 400, 31, 5]) clock.pong(100, 101 + back, 5_001_000);
  assert.equal(clock.since(4_990_000, 100), null, "too few");
  for (let late = 0; late < 9; late++) clock.pong(100, 500 + late, 5_001_000);
  assert.equal(clock.since(4_990_000, 100), 9, "the quickest took 3 ms back: half of the 2 ms that its ways differ by");
  clock.pong(100, 401, 5_300_000); // held up on its way there, and back in 1 ms
  assert.equal(clock.since(4_990_000, 100), 10);
});
