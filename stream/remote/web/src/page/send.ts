/** The card by which a camera is sent. */

import { Publisher, type PublishState } from "../net/publisher";
import { linkTo, NAME, readToken } from "./address";
import { CameraError, listCameras, openCamera } from "./camera";
import { element, say } from "./dom";

export class SendCard {
  state: PublishState | "idle" = "idle";
  words = "";
  session: string | null = null;
  /** Called when a session of ours begins, and when it is over. */
  published: (session: string) => void = () => {};

  private publisher: Publisher | null = null;
  private track: MediaStreamTrack | null = null;
  /** Grows with every start and stop, so that a camera which opens too late is seen to be so. */
  private turn = 0;
  private readonly preview = element("preview", HTMLVideoElement);
  private readonly cameras = element("camera", HTMLSelectElement);
  private readonly name = element("send-name", HTMLInputElement);
  private readonly button = element("send-button", HTMLButtonElement);

  constructor() {
    element("send-form", HTMLFormElement).addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.track || this.state === "connecting") this.stop();
      else void this.start();
    });
    this.cameras.addEventListener("change", () => void this.switchCamera());
    navigator.mediaDevices?.addEventListener("devicechange", () => void this.fillCameras());
    element("copy", HTMLButtonElement).addEventListener("click", () => void this.copy());
    void this.fillCameras();
  }

  stop(): void {
    this.turn += 1;
    this.publisher?.stop();
    this.publisher = null;
    this.session = null;
    this.release();
    this.tell("idle", "");
  }

  private async start(): Promise<void> {
    const turn = ++this.turn;
    this.tell("connecting", "Waiting for the camera.");
    try {
      const track = await openCamera(this.cameras.value);
      if (turn !== this.turn) return track.stop();
      this.show(track);
    } catch (error) {
      if (turn === this.turn) this.tell("failed", (error as CameraError).message);
      return;
    }
    void this.fillCameras();
    const name = NAME.test(this.name.value) ? this.name.value : "";
    this.publisher = new Publisher(this.track!, name, readToken(), {
      state: (state, words) => turn === this.turn && this.publishing(state, words),
      published: (session) => turn === this.turn && this.begun(session),
    });
  }

  private publishing(state: PublishState, words: string): void {
    if (state === "failed") this.release();
    this.tell(state, words);
  }

  private begun(session: string): void {
    const fresh = session !== this.session;
    this.session = session;
    element("share-link", HTMLInputElement).value = linkTo(session);
    this.tell(this.state, this.words);
    if (fresh) this.published(session);
  }

  private async switchCamera(): Promise<void> {
    if (!this.track) return;
    const [turn, before] = [this.turn, this.track];
    try {
      before.onended = null;
      before.stop(); // many devices open one camera at a time only
      const track = await openCamera(this.cameras.value);
      if (turn !== this.turn) return track.stop();
      this.show(track);
      await this.publisher?.replace(track);
    } catch (error) {
      if (turn !== this.turn) return;
      this.stop();
      this.tell("failed", (error as CameraError).message);
    }
  }

  private show(track: MediaStreamTrack): void {
    this.track = track;
    track.onended = () => {
      this.stop();
      this.tell("failed", "The camera was disconnected. Connect it, then start again.");
    };
    this.preview.srcObject = new MediaStream([track]);
    this.preview.play().catch(() => {}); // refused only where another camera took its place
  }

  private release(): void {
    if (this.track) this.track.onended = null;
    this.track?.stop();
    this.track = null;
    this.preview.srcObject = null;
  }

  private tell(state: PublishState | "idle", words: string): void {
    this.state = state;
    this.words = words;
    say("send-words", words, state === "failed" ? "bad" : state === "live" ? "good" : "plain");
    const running = this.track !== null || state === "connecting";
    this.button.textContent = running ? "Stop" : "Start camera";
    this.button.dataset.running = String(running);
    this.name.disabled = running;
    element("preview-frame", HTMLElement).hidden = this.track === null;
    element("share", HTMLElement).hidden = this.session === null || state === "failed";
  }

  private async fillCameras(): Promise<void> {
    const chosen = this.track?.getSettings().deviceId ?? this.cameras.value;
    const cameras = await listCameras();
    if (cameras.length === 0) return;
    this.cameras.replaceChildren(
      ...cameras.map(({ deviceId, label }, i) => new Option(label || `Camera ${i + 1}`, deviceId, false, deviceId === chosen)),
    );
  }

  private async copy(): Promise<void> {
    const field = element("share-link", HTMLInputElement);
    try {
      await navigator.clipboard.writeText(field.value);
      say("send-words", "The link was copied.", "good");
    } catch {
      field.select();
      say("send-words", "Copy the link that is selected now.");
    }
  }
}
