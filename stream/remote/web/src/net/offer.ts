/** An SDP offer by HTTP: WHIP (RFC 9725) to publish, WHEP to watch. */

import { request } from "./api";
import { sdpFragment } from "./sdp_fragment";

const GATHERING_MS = 300;

/** ICE found no way between the two sides. */
export class IceError extends Error {
  override name = "IceError";

  constructor() {
    super("No direct way to the server was found. A firewall may be in between; the server may need TURN.");
  }
}

/** What a POST of an offer made on the server; its address is the answer's `Location`. */
export class Offer {
  private location: string | null = null;
  private etag = "";

  constructor(
    private readonly peer: RTCPeerConnection,
    private readonly token: string,
  ) {}

  /** The last part of the address: for a publisher, the session's name. */
  get name(): string {
    return this.location ? decodeURIComponent(new URL(this.location).pathname.split("/").at(-1)!) : "";
  }

  /**
   * Send the offer, take the answer.
   *
   * @throws ServerError, OfflineError see `request`.
   */
  async send(path: string, signal: AbortSignal): Promise<void> {
    await this.peer.setLocalDescription();
    await gathered(this.peer);
    const offered = this.peer.localDescription!.sdp;
    const response = await request(path, {
      method: "POST",
      token: this.token,
      body: offered,
      headers: { "Content-Type": "application/sdp" },
      signal,
    });
    this.location = new URL(response.headers.get("Location") ?? "", response.url).href;
    this.etag = response.headers.get("ETag") ?? "";
    await this.peer.setRemoteDescription({ type: "answer", sdp: await response.text() });
    this.trickle(offered);
  }

  /** Tell the server that this is over; it would notice, but later. */
  async remove(): Promise<void> {
    const location = this.location;
    this.location = null;
    if (location) await request(location, { method: "DELETE", token: this.token, keepalive: true }).catch(() => {});
  }

  /** Send the candidates that were found after the offer had gone. */
  private trickle(offered: string): void {
    const send = (candidate: string) => {
      if (!this.location || offered.includes(candidate)) return;
      const headers = { "Content-Type": "application/trickle-ice-sdpfrag", "If-Match": this.etag };
      const body = sdpFragment(offered, [candidate]);
      // A candidate that is lost is no failure: others may work.
      request(this.location, { method: "PATCH", token: this.token, body, headers }).catch(() => {});
    };
    this.peer.onicecandidate = ({ candidate }) => candidate?.candidate && send(candidate.candidate);
    const found = this.peer.localDescription?.sdp.match(/^a=candidate:.*$/gm) ?? [];
    found.map((line) => line.slice(2).trim()).forEach(send);
  }
}

/** Until all candidates are found, or the quick ones must do. */
function gathered(peer: RTCPeerConnection): Promise<void> {
  if (peer.iceGatheringState === "complete") return Promise.resolve();
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, GATHERING_MS);
    peer.addEventListener("icegatheringstatechange", () => {
      if (peer.iceGatheringState !== "complete") return;
      clearTimeout(timer);
      resolve();
    });
  });
}

/**
 * Until the two sides are connected.
 *
 * @throws IceError they are not within `milliseconds`.
 */
export function connected(peer: RTCPeerConnection, milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const done = (settle: () => void) => {
      clearTimeout(timer);
      peer.removeEventListener("connectionstatechange", look);
      signal.removeEventListener("abort", aborted);
      settle();
    };
    const look = () => {
      if (peer.connectionState === "connected") done(resolve);
      else if (gone(peer)) done(() => reject(new IceError()));
    };
    const aborted = () => done(() => reject(signal.reason));
    const timer = setTimeout(() => done(() => reject(new IceError())), milliseconds);
    peer.addEventListener("connectionstatechange", look);
    signal.addEventListener("abort", aborted);
    if (signal.aborted) aborted();
    else look();
  });
}

/** The connection will not come back by itself. */
export function gone(peer: RTCPeerConnection): boolean {
  return peer.connectionState === "failed" || peer.connectionState === "closed";
}
