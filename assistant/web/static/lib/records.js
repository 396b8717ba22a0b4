// What a conversation is: a tree of turns of which one path is open. Whatever is read, from the
// browser's store, a file or a link, is checked here field by field. Knows no page and no store.
//
// record: {v, id, title, created, updated, leaf, nodes, settings?}, times in milliseconds
// nodes: nid -> {parent, role, text, ids?, pinned?, finish?, receipt?, sources?}; parents come before
// children. sources: {matches: [{start, end, text, path, start_line, end_line, licence, source, url,
// length, others}], spans: [{start, end}], service, note}; start, end: code points of the turn's text
const Records = (() => {
  const VERSION = 1;
  const MAX = {
    title: 120,
    text: 200_000,
    message: 32_000,
    nodes: 4_000,
    ids: 20_000,
    receipt: 8_192,
    name: 100,
    source: 1_000,
    match: 8_000,
    sources: 50,
  };
  const FINISHES = ["stop", "length", "cancelled", "error"];
  const ID = /^[a-z][0-9a-f]{8,30}$/;

  const newId = (letter) => {
    const bytes = crypto.getRandomValues(new Uint8Array(8));
    return letter + [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  };

  const create = (id, settings) => {
    const now = Date.now();
    return {
      v: VERSION,
      id,
      title: "",
      created: now,
      updated: now,
      leaf: null,
      nodes: {},
      settings,
    };
  };

  const titleOf = (text) => {
    const line = text.trim().split("\n", 1)[0];
    return line.length > 60 ? line.slice(0, 59) + "…" : line;
  };

  // Checking

  const refuse = (reason) => {
    throw new Error(reason);
  };
  const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
  const isText = (value, max) => typeof value === "string" && value.length <= max;
  const isTime = (value) => Number.isFinite(value) && value >= 0 && value < 1e14;
  const isCount = (value) => Number.isSafeInteger(value) && value >= 0;

  const checkSettings = (value) => {
    const settings = {};
    if (!isObject(value)) return settings;
    if (isText(value.template, MAX.name)) settings.template = value.template;
    if (value.temperature >= 0 && value.temperature <= 2)
      settings.temperature = Number(value.temperature);
    if (isCount(value.max_new_tokens) && value.max_new_tokens > 0) {
      settings.max_new_tokens = value.max_new_tokens;
    }
    if (isCount(value.seed)) settings.seed = value.seed;
    if (value.keep_all === true) settings.keep_all = true;
    return settings;
  };

  // Where a reply comes from, of what the server or a file says of it
  const checkSources = (value) => {
    const list = (found) => (Array.isArray(found) ? found.filter(isObject) : []);
    const word = (text, max = MAX.source) => (isText(text, max) ? text : "");
    const count = (number) => (isCount(number) ? number : 0);
    const matches = list(value.matches).map((match) => ({
      start: count(match.start),
      end: count(match.end),
      text: word(match.text, MAX.match),
      path: word(match.path),
      start_line: count(match.start_line),
      end_line: count(match.end_line),
      licence: word(match.licence),
      source: word(match.source),
      url: /^https?:\/\//.test(word(match.url)) ? match.url : "",
      length: count(match.length),
      others: count(match.others),
    }));
    return {
      matches: matches.slice(0, MAX.sources),
      spans: list(value.spans)
        .slice(0, MAX.sources)
        .map(({ start, end }) => ({ start: count(start), end: count(end) })),
      service: word(value.service),
      note: word(value.note),
    };
  };

  // What describes a turn, without its place in the tree. The server checks ids and receipts again.
  const checkTurn = (value, role) => {
    if (!isObject(value)) refuse("one of its turns is no turn");
    if (value.role !== role) refuse("its turns do not alternate");
    const most = role === "user" ? MAX.message : MAX.text;
    if (!isText(value.text, most) || (role === "user" && !value.text.trim())) {
      refuse(`one of its turns is no text of at most ${most.toLocaleString("en")} characters`);
    }
    const turn = { role, text: value.text };
    if (Array.isArray(value.ids) && value.ids.length <= MAX.ids && value.ids.every(isCount)) {
      turn.ids = value.ids;
    }
    if (value.pinned === true) turn.pinned = true;
    if (FINISHES.includes(value.finish)) turn.finish = value.finish;
    if (isObject(value.receipt) && JSON.stringify(value.receipt).length <= MAX.receipt) {
      turn.receipt = value.receipt;
    }
    if (isObject(value.sources)) turn.sources = checkSources(value.sources);
    return turn;
  };

  const opposite = (role) => (role === "user" ? "assistant" : "user");

  // A record made of what `value` has of one; throws an Error whose message ends the sentence
  // "... cannot be read: ".
  const check = (value) => {
    if (!isObject(value)) refuse("it is no conversation");
    if (value.v !== VERSION) refuse(`its version is not ${VERSION}`);
    if (typeof value.id !== "string" || !ID.test(value.id)) refuse("its id is missing or broken");
    if (!isObject(value.nodes)) refuse("it has no turns");
    const found = Object.entries(value.nodes);
    if (found.length > MAX.nodes)
      refuse(`it has more than ${MAX.nodes.toLocaleString("en")} turns`);
    const nodes = {};
    for (const [nid, node] of found) {
      if (!ID.test(nid) || !isObject(node)) refuse("one of its turns is broken");
      const root = node.parent === null;
      if (!root && !Object.hasOwn(nodes, node.parent)) refuse("a turn is missing before another");
      const role = root ? "user" : opposite(nodes[node.parent].role);
      nodes[nid] = { parent: node.parent, ...checkTurn(node, role) };
    }
    const known = value.leaf === null || Object.hasOwn(nodes, value.leaf);
    const leaf = known ? value.leaf : (Object.keys(nodes).at(-1) ?? null);
    return {
      v: VERSION,
      id: value.id,
      title: isText(value.title, MAX.title) ? value.title : "",
      created: isTime(value.created) ? value.created : Date.now(),
      // From the future it would win over all that is said later.
      updated: isTime(value.updated) ? Math.min(value.updated, Date.now()) : Date.now(),
      leaf,
      nodes,
      settings: checkSettings(value.settings),
    };
  };

  // Both, since turns are only ever added; what else is said of a conversation is the newer's.
  const merge = (one, other) => {
    if (!one || !other) return one || other;
    const [older, newer] = one.updated <= other.updated ? [one, other] : [other, one];
    return { ...newer, nodes: { ...older.nodes, ...newer.nodes } };
  };

  // The tree

  const path = (record, leaf) => {
    const found = [];
    for (let nid = leaf; nid; nid = record.nodes[nid].parent) found.unshift(nid);
    return found;
  };

  // parent (or "" at the top) -> its children, oldest first
  const family = (record) => {
    const children = new Map();
    for (const [nid, { parent }] of Object.entries(record.nodes)) {
      const key = parent ?? "";
      children.has(key) ? children.get(key).push(nid) : children.set(key, [nid]);
    }
    return children;
  };

  // From a turn down to the newest reply
  const tip = (record, nid) => {
    const children = family(record);
    while (children.has(nid)) nid = children.get(nid).at(-1);
    return nid;
  };

  const words = (record) => [record.title, ...Object.values(record.nodes).map((node) => node.text)];

  return {
    MAX,
    newId,
    create,
    titleOf,
    check,
    checkTurn,
    checkSettings,
    checkSources,
    merge,
    path,
    family,
    tip,
    words,
  };
})();
