import assert from "node:assert/strict";
import { test } from "node:test";

import { wordsFor } from "../src/net/api";
import { backoff } from "../src/net/backoff";
import { sdpFragment } from "../src/net/sdp_fragment";
import { frameTime } from "../src/net/viewer";
import { cameraWords } from "../src/page/camera";
import { ARKIT_NAMES } from "../src/view/arkit";
import { arkitNames } from "../src/view/avatar";
import { described } from "./vectors";

test("refusals are told in plain words", () => {
  assert.match(wordsFor(401, false, ""), /asks for a token/);
  assert.match(wordsFor(401, true, ""), /does not accept this token/);
  assert.equal(wordsFor(503, true, ""), "The server is full.");
  assert.equal(wordsFor(503, true, "It still loads; try again soon."), "It still loads.");
  assert.equal(wordsFor(400, true, "The offer has no video."), "The offer has no video.");
  assert.equal(wordsFor(500, true, ""), "The server answered with status 500.");
});

test("a camera that cannot be had is told in plain words", () => {
  assert.match(cameraWords("NotAllowedError"), /refused/);
  assert.match(cameraWords("NotFoundError"), /No camera/);
  assert.match(cameraWords("NotReadableError"), /Another program/);
});

test("tries are quick at first, never more than the server wants, and never stop", () => {
  let passed = 0;
  let tries = 0;
  for (; passed < 5000; tries++) passed += backoff(tries);
  assert.ok(tries >= 8, `${tries} tries in the first 5 s`);
  assert.ok(backoff(1000) <= 3000);
  assert.equal(backoff(0, 7), 7000);
});

test("a candidate goes with the credentials and the media line of its offer", () => {
  const offer = "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=ice-ufrag:abcd\r\na=ice-pwd:secret\r\na=mid:0\r\nm=application 9 X Y\r\n";
  assert.equal(
    sdpFragment(offer, ["candidate:1 1 udp 1 192.0.2.1 9 typ host"]),
    "a=ice-ufrag:abcd\r\na=ice-pwd:secret\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\n" +
      "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n",
  );
});

test("RTP timestamps become media times, over the wrap", () => {
  assert.equal(frameTime(10, 4), 6);
  assert.equal(frameTime(4, 10), 2 ** 32 - 6);
  assert.equal(frameTime(undefined, 10), null);
  assert.equal(frameTime(10, null), null);
});

test("other tools' names of morph targets are understood", () => {
  assert.deepEqual([...ARKIT_NAMES], described.names);
  assert.ok(arkitNames("Face.eyeBlink_L").includes("eyeblinkleft"));
  assert.ok(arkitNames("browInnerUp_R").includes("browinnerup"));
  assert.deepEqual(arkitNames("jawOpen"), ["jawopen"]);
});
