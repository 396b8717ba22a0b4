// A conversation in the fragment of a link, which browsers send to no server: the open path, the
// template's name and the settings; nothing else. "#chat=1." and then base64url of deflated JSON.
const Share = (() => {
  const START = "#chat=1.";
  const LINK_MAX = 60_000; // characters; longer ones are cut by too many programs
  const TEXT_MAX = 1_000_000; // characters that a link may unfold to

  const through = async (bytes, stream, max) => {
    const parts = [];
    let size = 0;
    const reader = new Blob([bytes]).stream().pipeThrough(stream).getReader();
    for (let step = await reader.read(); !step.done; step = await reader.read()) {
      size += step.value.length;
      if (size > max) {
        reader.cancel();
        throw new Error(`it unfolds to more than ${max.toLocaleString("en")} characters`);
      }
      parts.push(step.value);
    }
    return new Blob(parts);
  };

  const link = async (record, leaf, settings) => {
    const turns = Records.path(record, leaf).map((nid) => {
      const { text, finish } = record.nodes[nid];
      return finish ? { text, finish } : { text };
    });
    const value = JSON.stringify({ title: record.title, settings, turns });
    const folded = await through(value, new CompressionStream("deflate-raw"), Infinity);
    let binary = "";
    for (const byte of new Uint8Array(await folded.arrayBuffer()))
      binary += String.fromCharCode(byte);
    const code = btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
    const url = location.origin + location.pathname + START + code;
    if (url.length > LINK_MAX) {
      throw new Error(
        `This conversation makes a link of ${url.length.toLocaleString("en")} characters; links may ` +
          `have ${LINK_MAX.toLocaleString("en")}. Export it as a file instead.`,
      );
    }
    return url;
  };

  // The record that a fragment holds, null for another fragment, or an Error with a sentence.
  const open = async (fragment) => {
    if (!fragment.startsWith("#chat=")) return null;
    try {
      if (!fragment.startsWith(START)) throw new Error("its version is not known here");
      if (fragment.length > LINK_MAX) throw new Error("it is too long");
      const code = fragment.slice(START.length).replaceAll("-", "+").replaceAll("_", "/");
      const bytes = Uint8Array.from(atob(code), (char) => char.charCodeAt(0));
      const text = await (
        await through(bytes, new DecompressionStream("deflate-raw"), TEXT_MAX)
      ).text();
      const value = JSON.parse(text);
      const record = Records.create(Records.newId("c"), Records.checkSettings(value.settings));
      if (!Array.isArray(value.turns) || !value.turns.length) throw new Error("it holds no turns");
      value.turns.forEach(({ text, finish }, index) => {
        const nid = Records.newId("n");
        const role = index % 2 ? "assistant" : "user";
        record.nodes[nid] = { parent: record.leaf, role, text, finish };
        record.leaf = nid;
      });
      record.title = typeof value.title === "string" ? value.title.slice(0, Records.MAX.title) : "";
      return Records.check(record);
    } catch (error) {
      const reason = error.constructor === Error ? error.message : "it is damaged";
      throw new Error(`The shared link cannot be opened: ${reason}.`);
    }
  };

  return { link, open };
})();
