/** Publishes a camera by WHIP: connects, keeps the connection, comes back under the same name when it breaks. */

import { iceServers, OfflineError, ServerError } from "./api";
import { backoff, pause } from "./backoff";
import { connected, gone, IceError, Offer } from "./offer";

export type PublishState = "connecting" | "live" | "reconnecting" | "failed" | "stopped";

export interface PublisherEvents {
  state(state: PublishState, words: string): void;
  /** The session's name, whenever a connection was made. */
  published(session: string): void;
}

const CONNECT_MS = 8000;
const LOOK_MS = 500;

/** The server reports on what it receives about once a second; without that for this long it is gone. */
const SILENCE_MS = 3500;

const MAX_BITRATE = 2_500_000;

export class Publisher {
  private readonly stopping = new AbortController();
  private sender: RTCRtpSender | null = null;
  private everLive = false;

  constructor(
    private track: MediaStreamTrack,
    private name: string,
    private readonly token: string,
    private readonly events: PublisherEvents,
  ) {
    void this.run();
  }

  /** Send another camera from now on. */
  async replace(track: MediaStreamTrack): Promise<void> {
    this.track = track;
    await this.sender?.replaceTrack(track);
  }

  stop(): void {
    this.stopping.abort();
    this.events.state("stopped", "");
  }

  private async run(): Promise<void> {
    const { signal } = this.stopping;
    for (let attempt = 0; !signal.aborted; attempt++) {
      let wait = backoff(attempt);
      try {
        this.events.state(this.everLive ? "reconnecting" : "connecting", this.everLive ? "Connecting again." : "Connecting.");
        await this.publish(() => (attempt = 0));
      } catch (error) {
        if (signal.aborted) return;
        // After a break, the server may still hold the name for the connection that broke.
        const taken = error instanceof ServerError && error.status === 409 && this.everLive;
        if (error instanceof ServerError && error.final && !taken) return this.fail(error);
        if (error instanceof IceError && !this.everLive) return this.fail(error);
        wait = backoff(attempt, error instanceof ServerError ? error.retryAfter : null);
        const again = wait > 1500 ? ` Trying again in ${Math.ceil(wait / 1000)} s.` : " Trying again.";
        this.events.state("reconnecting", (error as Error).message + again);
      }
      await pause(wait, signal).catch(() => {});
    }
  }

  private fail(error: Error): void {
    this.events.state("failed", error.message);
  }

  /** One connection, until it ends; always by an exception. */
  private async publish(opened: () => void): Promise<never> {
    const { signal } = this.stopping;
    const peer = new RTCPeerConnection({
      iceServers: await iceServers(this.token, signal),
      bundlePolicy: "max-bundle",
    });
    const offer = new Offer(peer, this.token);
    try {
      const transceiver = peer.addTransceiver(this.track, {
        direction: "sendonly",
        sendEncodings: [{ maxBitrate: MAX_BITRATE }],
      });
      this.sender = transceiver.sender;
      await offer.send(this.name ? `whip?session=${encodeURIComponent(this.name)}` : "whip", signal);
      await connected(peer, CONNECT_MS, signal);
      this.name = offer.name;
      this.everLive = true;
      opened();
      this.events.state("live", "Sending.");
      this.events.published(this.name);
      return await broken(peer, signal);
    } finally {
      this.sender = null;
      peer.close();
      await offer.remove();
    }
  }
}

/** Until the connection breaks, which ICE itself notices late only: the server's silence tells it sooner. */
async function broken(peer: RTCPeerConnection, signal: AbortSignal): Promise<never> {
  let [bytes, silence] = [-1, 0];
  for (;;) {
    await pause(LOOK_MS, signal);
    if (gone(peer)) throw new Error("The connection broke.");
    const received = await bytesReceived(peer);
    // Looks are counted, not the clock: where the page itself was held up, what came meanwhile waits to be read.
    silence = received === bytes ? silence + LOOK_MS : 0;
    bytes = received;
    if (silence > SILENCE_MS) throw new OfflineError();
  }
}

async function bytesReceived(peer: RTCPeerConnection): Promise<number> {
  let bytes = 0;
  for (const report of (await peer.getStats()).values()) {
    if (report.type === "candidate-pair") bytes += report.bytesReceived ?? 0;
    if (report.type === "remote-inbound-rtp") bytes += report.timestamp ?? 0;
  }
  return bytes;
}
