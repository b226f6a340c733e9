/** Control messages: JSON texts (the twin of stream/protocol/messages.py). */

import { ProtocolError } from "./errors";

/** Longest control message. */
export const MAX_BYTES = 16_384;

export const CONTROL_LABEL = "prosopon.control";
export const MESH_LABEL = "prosopon.mesh";

export interface Hello {
  type: "hello";
  protocol: number;
  session: string;
  size: number;
  key_seconds: number;
  expressions: string[];
}

export interface Clock {
  type: "clock";
  rtp: number;
}

export interface State {
  type: "state";
  state: "live" | "waiting" | "ended";
  faces: number;
  viewers: number;
}

export interface Pong {
  type: "pong";
  time: number;
  server: number;
}

export type FromServer = Hello | Clock | State | Pong;

export type FromViewer =
  | { type: "subscribe"; mesh: boolean; expression: boolean; texture: boolean }
  | { type: "key" }
  | { type: "ping"; time: number }
  | { type: "report"; received: number; lost: number; shown: number; latency_ms: number | null };

type Fields = Record<string, unknown>;

const whole = (value: unknown, low: number, high: number): value is number =>
  Number.isInteger(value) && (value as number) >= low && (value as number) <= high;

const text = (value: unknown): value is string => typeof value === "string" && value.length <= 64;

const CHECKS: { [Type in FromServer["type"]]: (fields: Fields) => boolean } = {
  hello: ({ protocol, session, size, key_seconds: seconds, expressions }) =>
    whole(protocol, 0, 255) &&
    text(session) &&
    whole(size, 2, 512) &&
    Number.isFinite(seconds) &&
    (seconds as number) > 0 &&
    (seconds as number) <= 3600 &&
    Array.isArray(expressions) &&
    expressions.length <= 64 &&
    expressions.every(text),
  clock: ({ rtp }) => whole(rtp, 0, 2 ** 32 - 1),
  state: ({ state, faces, viewers }) =>
    (state === "live" || state === "waiting" || state === "ended") && whole(faces, 0, 16) && whole(viewers, 0, 100_000),
  pong: ({ time, server }) => Number.isFinite(time) && whole(server, 0, 2 ** 53),
};

/**
 * A message from the server, or null where its type is not known; nothing in it is trusted.
 *
 * @throws ProtocolError it is too long, not a JSON object, or a value does not fit.
 */
export function readMessage(json: string): FromServer | null {
  if (json.length > MAX_BYTES) throw new ProtocolError(`A control message of ${json.length} characters is too long.`);
  let fields: unknown;
  try {
    fields = JSON.parse(json);
  } catch {
    throw new ProtocolError("A control message is no JSON.");
  }
  if (typeof fields !== "object" || fields === null || Array.isArray(fields)) {
    throw new ProtocolError("A control message is no JSON object.");
  }
  const type = (fields as Fields).type;
  if (typeof type !== "string" || !Object.hasOwn(CHECKS, type)) return null;
  if (!CHECKS[type as FromServer["type"]](fields as Fields)) {
    throw new ProtocolError(`A control message of type ${type} holds values that cannot be.`);
  }
  return fields as FromServer;
}
