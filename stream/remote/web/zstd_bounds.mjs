// fzstd trusts its input in three places: a few hostile bytes would keep it busy for minutes or make it allocate
// without need. The bundler puts the missing checks in; the build fails if fzstd's text is not the expected one.
import { readFile } from "node:fs/promises";

const CHECKS = [
  {
    // A sequence's literals and match must fit into the block, and the match must lie within the output.
    before: "for (var i = 0; i < ll; ++i) {\n                    buf[oubt + i] = buf[spl + i];",
    check: "if (oubt + ll + ml > buf.length || spl + ll > buf.length) err(0);\n" +
      "if (off < 1 || off > oubt + ll + st.e) err(4);\n",
  },
  {
    // Huffman codes have at most 11 bits (RFC 8878, 4.2.1).
    before: "var ts = 1 << mb;",
    check: "if (mb > 11) err(0);\n",
  },
  {
    // The frame must become what it declared.
    before: "bt = st.b + (st.c * 4);",
    check: "if (buf && st.y !== st.u) err(5);\n",
  },
];

export const zstdBounds = {
  name: "zstd-bounds",
  setup(build) {
    build.onLoad({ filter: /fzstd[\\/]esm[\\/]index\.mjs$/ }, async ({ path }) => {
      let text = (await readFile(path, "utf8")).replaceAll("\r\n", "\n");
      for (const { before, check } of CHECKS) {
        const [head, ...rest] = text.split(before);
        if (rest.length !== 1) throw new Error(`fzstd has changed: look for '${before}' and check it again`);
        text = head + check + before + rest[0];
      }
      return { contents: text, loader: "js" };
    });
  },
};
