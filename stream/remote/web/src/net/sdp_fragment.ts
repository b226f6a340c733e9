/**
 * Candidates as a trickle ICE fragment (RFC 8840) of the offer they belong to; all media go over the first one's
 * transport.
 */
export function sdpFragment(offer: string, candidates: string[]): string {
  const lines = offer.split(/\r?\n/);
  const first = (start: string) => lines.find((line) => line.startsWith(start));
  const wanted = [first("a=ice-ufrag:"), first("a=ice-pwd:"), first("m="), first("a=mid:")];
  const kept = wanted.filter((line) => line !== undefined);
  return [...kept, ...candidates.map((candidate) => `a=${candidate}`), ""].join("\r\n");
}
