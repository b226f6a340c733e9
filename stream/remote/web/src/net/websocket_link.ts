/** Watching by WebSocket, where WebRTC fails. */

import { OfflineError, ServerError } from "./api";
import type { Link, LinkEvents } from "./link";

const OPEN_MS = 5000;
const NO_SESSION = 4404;
const FULL = 1013;

/**
 * Watch a session.
 *
 * @throws OfflineError the server does not take the connection (a browser does not tell why).
 */
export function watchByWebSocket(
  session: string,
  token: string,
  events: LinkEvents,
  signal: AbortSignal,
): Promise<Link> {
  const address = new URL(`ws/${encodeURIComponent(session)}`, document.baseURI);
  address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
  address.hash = "";
  const socket = new WebSocket(address, ["prosopon.v1", ...(token ? [`prosopon.token.${base64url(token)}`] : [])]);
  socket.binaryType = "arraybuffer";
  let open = true;
  const close = () => {
    open = false;
    socket.close();
  };
  const link: Link = {
    transport: "websocket",
    send: (text) => socket.readyState === WebSocket.OPEN && socket.send(text),
    close,
    videoBytes: () => Promise.resolve(0),
  };
  socket.onmessage = ({ data }) => {
    if (!open) return;
    if (typeof data === "string") events.control(data);
    else events.datagram(new Uint8Array(data));
  };
  return new Promise((resolve, reject) => {
    const settled = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", aborted); // it lives longer than the socket, and would keep it
    };
    const fail = (reason: unknown) => {
      settled();
      close();
      reject(reason);
    };
    const aborted = () => fail(signal.reason);
    const timer = setTimeout(() => fail(new OfflineError()), OPEN_MS);
    signal.addEventListener("abort", aborted);
    socket.onclose = () => fail(new OfflineError());
    socket.onopen = () => {
      settled();
      socket.onclose = ({ code }) => {
        if (!open) return;
        open = false;
        events.closed(closeReason(code));
      };
      resolve(link);
    };
  });
}

function closeReason(code: number): Error {
  if (code === NO_SESSION) return new ServerError("The session is over.", 404);
  if (code === FULL) return new ServerError("The server is full.", 503);
  return new Error("The server ended the connection.");
}

function base64url(text: string): string {
  const bytes = String.fromCharCode(...new TextEncoder().encode(text));
  return btoa(bytes).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
