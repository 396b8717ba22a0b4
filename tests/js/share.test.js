// A conversation in a link, there and back, and links that hold none.

import "./browser.js";
import assert from "node:assert/strict";
import { test } from "node:test";
import { link, open, reach } from "../../assistant/web/static/lib/share.js";
import { conversation } from "./browser.js";

const fragment = (url) => url.slice(url.indexOf("#"));
const texts = (record) => Object.values(record.nodes).map(({ text }) => text);

const folded = async (value) => {
  const stream = new Blob([value]).stream().pipeThrough(new CompressionStream("deflate-raw"));
  const bytes = Buffer.from(await new Response(stream).arrayBuffer());
  return `#chat=1.${bytes.toString("base64url")}`;
};

test("what is shown is in the link, and no id of it", async () => {
  const one = conversation(1, "What is é, 漢, 😀?", "A <b>reply</b>", "other");
  one.nodes.n0001000001.finish = "length";
  one.nodes.n0001000001.receipt = { seed: 5 };
  const url = await link(one, "n0001000001", { seed: 7 });
  assert.ok(url.startsWith("http://localhost:7860/#chat=1."));
  const back = await open(fragment(url));
  assert.deepEqual(texts(back), ["What is é, 漢, 😀?", "A <b>reply</b>"]);
  assert.deepEqual([back.title, back.settings], [one.title, { seed: 7 }]);
  assert.notEqual(back.id, one.id);
  assert.deepEqual(Object.keys(back.nodes[back.leaf]), ["parent", "role", "text", "finish"]);
});

test("another fragment is none of ours", async () => {
  assert.equal(await open("#top"), null);
  assert.equal(await open(""), null);
});

test("a link that would be too long is refused with its length", async () => {
  let number = 1;
  const next = () => {
    number = (number * 48_271) % 2_147_483_647;
    return number.toString(36).at(-1);
  };
  const noise = Array.from({ length: 40_000 }, next).join("");
  const long = conversation(1, noise.slice(0, 30_000), noise, noise, noise);
  await assert.rejects(
    link(long, long.leaf, {}),
    /makes a link of .* characters; links may have 60,000/,
  );
});

for (const [name, make, reason] of [
  ["a later version", () => "#chat=2.abc", "its version is not known here"],
  ["no base64", () => "#chat=1.%%%", "it is damaged"],
  ["nothing", () => "#chat=1.", "it is damaged"],
  ["no deflated data", () => "#chat=1.abcd", "it is damaged"],
  ["no JSON", () => folded("{"), "it is damaged"],
  ["null", () => folded("null"), "it is damaged"],
  ["no turns", () => folded('{"turns": []}'), "it holds no turns"],
  ["a turn without text", () => folded('{"turns": [{}]}'), "no text"],
  ["too much", () => `#chat=1.${"a".repeat(60_000)}`, "it is too long"],
  ["a bomb", () => folded("a".repeat(1_000_001)), "unfolds to more than 1,000,000 characters"],
]) {
  test(`a link with ${name} is refused`, async () => {
    const broken = await make();
    await assert.rejects(open(broken), (error) => {
      assert.match(error.message, /^The shared link cannot be opened: .*\.$/);
      return error.message.includes(reason);
    });
    const healthy = conversation(1, "a", "b");
    assert.deepEqual(texts(await open(fragment(await link(healthy, healthy.leaf, {})))), [
      "a",
      "b",
    ]);
  });
}

test("it is known how far a link of this host reaches", () => {
  for (const host of ["localhost", "my.localhost", "127.0.0.1", "127.9.0.1", "[::1]"])
    assert.equal(reach(host), "computer", host);
  for (const host of ["10.0.0.1", "192.168.1.2", "172.16.0.1", "172.31.9.9", "nas.local", "nas"])
    assert.equal(reach(host), "network", host);
  for (const host of [
    "172.32.0.1",
    "8.8.8.8",
    "10.example.org",
    "localhost.evil.org",
    "x.gradio.live",
  ])
    assert.equal(reach(host), "everywhere", host);
});
