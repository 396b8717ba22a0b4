// What a block of code is called as a file: its own name, or by its language.

/** Languages by the ending of their files. @type {Record<string, string>} */
const LANGUAGES = {
  asm: "asm",
  awk: "awk",
  c: "c",
  clj: "clojure clj",
  cmake: "cmake",
  cpp: "cpp c++ cc cxx",
  cs: "cs csharp c#",
  css: "css",
  csv: "csv",
  dart: "dart",
  diff: "diff patch",
  erl: "erlang erl",
  ex: "elixir ex",
  go: "go golang",
  gradle: "gradle",
  graphql: "graphql",
  groovy: "groovy",
  html: "html",
  hs: "haskell hs",
  ini: "ini",
  java: "java",
  jl: "julia jl",
  js: "js javascript node",
  json: "json",
  jsx: "jsx",
  kt: "kotlin kt",
  lua: "lua",
  m: "matlab",
  md: "markdown md",
  ml: "ocaml ml",
  php: "php",
  pl: "perl pl",
  ps1: "powershell ps1",
  py: "python py python3",
  r: "r",
  rb: "ruby rb",
  rs: "rust rs",
  scala: "scala",
  scss: "scss",
  sh: "sh bash shell zsh",
  sql: "sql",
  swift: "swift",
  tex: "tex latex",
  tf: "terraform tf hcl",
  toml: "toml",
  ts: "ts typescript",
  tsx: "tsx",
  xml: "xml",
  yaml: "yaml yml",
};
/** @type {Map<string, string>} */
const ENDINGS = new Map(
  Object.entries(LANGUAGES).flatMap(([ending, names]) =>
    names.split(" ").map((name) => /** @type {[string, string]} */ ([name, ending])),
  ),
);
const WHOLE = new Map([
  ["docker", "Dockerfile"],
  ["dockerfile", "Dockerfile"],
  ["make", "Makefile"],
  ["makefile", "Makefile"],
]);

/** @param {string} language as it stands behind the fence @param {string} [name] that is given there */
export const nameOf = (language, name = "") => {
  const last = name.split(/[\\/]/).at(-1)?.trim();
  const key = language.toLowerCase();
  return last || (WHOLE.get(key) ?? `code.${ENDINGS.get(key) ?? "txt"}`);
};
