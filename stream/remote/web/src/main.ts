/** Prosopon's page: send a camera, watch live faces. */

import { readAddress, readToken, storeToken } from "./page/address";
import { AvatarCard } from "./page/avatars";
import { element, say } from "./page/dom";
import { showFigures } from "./page/figures";
import { Player } from "./page/player";
import { exposeProbe } from "./page/probe";
import { SendCard } from "./page/send";
import "./page/style.css";
import { WatchCard } from "./page/watch";
import type { Mode } from "./view/surface";

function start(): void {
  const address = readAddress();
  const player = new Player(element("stage", HTMLCanvasElement), element("video", HTMLVideoElement));
  const send = new SendCard();
  const watch = new WatchCard(player, address.onlyWebSocket);
  const avatars = new AvatarCard(player);
  send.published = (session) => watch.watch(session);
  player.changed = () => {
    watch.tell();
    showFigures(player);
  };
  element("modes", HTMLFieldSetElement).addEventListener("change", ({ target }) => {
    const mode = (target as HTMLInputElement).value as Mode | "avatar";
    player.show(mode);
    avatars.show(mode === "avatar");
  });
  element("front", HTMLButtonElement).addEventListener("click", () => player.stage.orbit.reset());
  element("skip", HTMLAnchorElement).addEventListener("click", (event) => {
    event.preventDefault(); // the address tells the session, so a jump is made by hand
    element("panel", HTMLElement).focus();
  });
  const token = element("token", HTMLInputElement);
  token.value = readToken();
  element("token-form", HTMLFormElement).addEventListener("submit", (event) => {
    event.preventDefault();
    storeToken(token.value.trim());
    say("token-words", token.value.trim() ? "The token is used from now on." : "No token is used.");
    watch.retry();
  });
  window.addEventListener("pagehide", () => {
    send.stop();
    player.stop();
  });
  exposeProbe(player, send);
  if (address.session !== null) watch.watch(address.session);
}

try {
  if (!("requestVideoFrameCallback" in HTMLVideoElement.prototype)) throw new Error("no video frame callbacks");
  start();
} catch (error) {
  say("empty-title", "This browser cannot show faces");
  say("empty-words", "The page needs WebGL 2 and a browser of the last few years. Is graphics acceleration turned on?");
  console.error(error);
}
