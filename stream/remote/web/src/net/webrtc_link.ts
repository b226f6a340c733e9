/** Watching by WebRTC: WHEP with two data channels. */

import { CONTROL_LABEL, MESH_LABEL } from "../protocol/messages";
import type { Link, LinkEvents } from "./link";
import { connected, gone, Offer } from "./offer";

/** After this long without a connection the WebSocket is tried. */
const CONNECT_MS = 5000;

/**
 * Watch a session.
 *
 * @throws ServerError, OfflineError see `request`; IceError there is no way to the server.
 */
export async function watchByWebRtc(
  session: string,
  token: string,
  servers: RTCIceServer[],
  events: LinkEvents,
  signal: AbortSignal,
): Promise<Link> {
  const peer = new RTCPeerConnection({ iceServers: servers, bundlePolicy: "max-bundle" });
  const control = peer.createDataChannel(CONTROL_LABEL);
  const mesh = peer.createDataChannel(MESH_LABEL, { ordered: false, maxRetransmits: 0 });
  mesh.binaryType = "arraybuffer";
  const { receiver } = peer.addTransceiver("video", { direction: "recvonly" });
  // Every millisecond that a picture waits in the jitter buffer is a millisecond more from glass to glass.
  if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = 0;

  const offer = new Offer(peer, token);
  let open = true;
  const close = () => {
    open = false;
    peer.close();
    void offer.remove();
  };
  const lost = (words: string) => {
    if (!open) return;
    close();
    events.closed(new Error(words));
  };
  mesh.onmessage = ({ data }) => open && data instanceof ArrayBuffer && events.datagram(new Uint8Array(data));
  control.onmessage = ({ data }) => open && typeof data === "string" && events.control(data);

  const ready = new Promise<void>((resolve) => (control.onopen = () => resolve()));
  try {
    await offer.send(`whep/${encodeURIComponent(session)}`, signal);
    const started = performance.now();
    await connected(peer, CONNECT_MS, signal);
    await within(ready, CONNECT_MS - (performance.now() - started), signal);
  } catch (error) {
    close();
    throw error;
  }
  control.onclose = () => lost("The server ended the connection.");
  peer.onconnectionstatechange = () => gone(peer) && lost("The connection broke.");
  events.video(new MediaStream([receiver.track]));
  return {
    transport: "webrtc",
    send: (text) => control.readyState === "open" && control.send(text),
    close,
    videoBytes: () => videoBytes(receiver),
  };
}

async function within(promise: Promise<void>, milliseconds: number, signal: AbortSignal): Promise<void> {
  let timer = 0;
  const limit = new Promise<never>((_, reject) => {
    timer = window.setTimeout(() => reject(new Error("The server does not open the data channels.")), milliseconds);
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
  await Promise.race([promise, limit]).finally(() => clearTimeout(timer));
}

async function videoBytes(receiver: RTCRtpReceiver): Promise<number> {
  let bytes = 0;
  for (const report of (await receiver.getStats()).values()) {
    if (report.type === "inbound-rtp") bytes += report.bytesReceived ?? 0;
  }
  return bytes;
}
