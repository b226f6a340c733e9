/** The card by which a session is chosen, and what is said of the one that is watched. */

import { listSessions, OfflineError, ServerError, type SessionEntry } from "../net/api";
import { NAME, readToken, writeSession } from "./address";
import { element, say } from "./dom";
import type { Player } from "./player";

const REFRESH_MS = 3000;

export class WatchCard {
  private session: string | null = null;
  private listed = "";
  /** The token does not open the list; asking again with it would count as an attack. */
  private refused = false;
  private readonly button = element("watch-button", HTMLButtonElement);
  private readonly name = element("watch-name", HTMLInputElement);
  private readonly pill = element("view-pill", HTMLElement);

  constructor(
    private readonly player: Player,
    private readonly onlyWebSocket: boolean,
  ) {
    element("watch-form", HTMLFormElement).addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.session !== null && this.session === this.name.value) this.stop();
      else if (NAME.test(this.name.value)) this.watch(this.name.value);
    });
    this.name.addEventListener("input", () => this.tell());
    document.addEventListener("visibilitychange", () => void this.refresh());
    setInterval(() => void this.refresh(), REFRESH_MS);
    void this.refresh();
    this.tell();
  }

  watch(session: string): void {
    this.session = session;
    this.name.value = session;
    writeSession(session);
    this.player.watch(session, readToken(), this.onlyWebSocket);
    this.listed = "";
    void this.refresh();
  }

  stop(): void {
    this.player.stop();
    this.player.stage.clear();
    this.session = null;
    writeSession(null);
    this.listed = "";
    void this.refresh();
    this.tell();
  }

  /** A new token was given: what failed for want of one is tried again. */
  retry(): void {
    this.refused = false;
    if (this.session !== null && this.player.state === "failed") this.watch(this.session);
    else void this.refresh();
  }

  /** Say how the watched session fares. */
  tell(): void {
    const { state, words } = this.session === null ? { state: "idle", words: "" } : this.player;
    const watching = this.session !== null;
    this.pill.dataset.state = state;
    say("view-state", watching ? words || "Connecting." : "Nothing is being watched.");
    this.button.textContent = watching && this.session === this.name.value ? "Stop" : "Watch";
    element("stage", HTMLElement).classList.toggle("stale", watching && state !== "live");
    const empty = this.player.stage.faces === 0;
    element("empty", HTMLElement).hidden = !empty;
    if (empty) this.tellEmpty(watching, words);
  }

  private tellEmpty(watching: boolean, words: string): void {
    say("empty-title", watching ? this.session! : "Your face, live in 3D");
    say("empty-words", watching ? words : "Start your camera, or choose a session to watch.");
  }

  private async refresh(): Promise<void> {
    if (document.visibilityState === "hidden" || this.refused) return;
    try {
      const sessions = await listSessions(readToken());
      this.list(sessions);
      say("sessions-words", sessions.length ? "" : "No session is live on this server.");
    } catch (error) {
      this.list([]);
      this.refused = error instanceof ServerError && (error.status === 401 || error.status === 403);
      const known = error instanceof ServerError || error instanceof OfflineError;
      say("sessions-words", known ? error.message : "The sessions cannot be listed.", "bad");
    }
  }

  private list(sessions: SessionEntry[]): void {
    const described = JSON.stringify(sessions);
    if (described === this.listed) return; // a list that is made anew loses the focus
    const focused = (document.activeElement as HTMLElement | null)?.dataset.session;
    this.listed = described;
    const items = sessions.map((entry) => this.item(entry));
    element("sessions", HTMLElement).replaceChildren(...items);
    items.find(({ firstElementChild: button }) => (button as HTMLElement).dataset.session === focused)?.querySelector("button")?.focus();
  }

  private item({ name, state, viewers }: SessionEntry): HTMLLIElement {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.session = name;
    button.dataset.state = state;
    button.ariaPressed = String(name === this.session);
    const dot = document.createElement("span");
    dot.className = "dot";
    const title = document.createElement("b");
    title.textContent = name;
    const detail = document.createElement("small");
    detail.textContent = `${state}, ${viewers} ${viewers === 1 ? "viewer" : "viewers"}`;
    button.append(dot, title, detail);
    button.addEventListener("click", () => this.watch(name));
    const item = document.createElement("li");
    item.append(button);
    return item;
  }
}
