// The try-it page: one row, many rows, and the same by code. It checks no value itself: the service
// does. What comes from the model, a file or the service gets into the page as text alone.

const $ = (id) => document.getElementById(id);
const facts = JSON.parse($("facts").textContent);
const { features } = facts;
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
const SHOWN = 100; // rows of a batch in the page; all are in the download
const CHUNK = 1000; // rows in a request of a batch
const MOST_BYTES = 50 * 1024 ** 2; // of a file, which is held in memory
const COUNTED = new Intl.NumberFormat("en");

/** A new element with a text. */
function element(tag, text = "", className = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = className;
  return made;
}

// ---- values

/** What a text stands for; one that does not fit is left for the service to refuse. */
function valueOf(feature, text) {
  const cell = text.trim();
  if (feature.type === "category") {
    // As `model-service score` reads cells: NA is missing, unless it is a category.
    return facts.missing.includes(text) && !feature.categories?.includes(text) ? null : text;
  }
  if (facts.missing.includes(cell)) return null;
  if (feature.type === "boolean") return facts.booleans[cell.toLowerCase()] ?? text;
  return NUMBER.test(cell) && Number.isFinite(Number(cell)) ? Number(cell) : text;
}

/** The value of a feature in the form. */
function fieldValue(feature, i) {
  const text = $(`field-${i}`).value;
  if (feature.type !== "category") return valueOf(feature, text);
  if (text === "other") return $(`other-${i}`).value;
  return text === "" ? null : feature.categories[text];
}

/** The form's row; what is empty is null, or left out where it may not be. */
function formRow() {
  const pairs = features.map((feature, i) => [feature, fieldValue(feature, i)]);
  const kept = pairs.filter(([feature, value]) => value !== null || feature.nullable);
  return Object.fromEntries(kept.map(([feature, value]) => [feature.name, value]));
}

/** Write a row into the form. */
function fill(row) {
  features.forEach((feature, i) => {
    const value = row[feature.name] ?? null;
    const known = feature.categories?.indexOf(value) ?? -1;
    if (feature.type !== "category" || value === null) $(`field-${i}`).value = value ?? "";
    else $(`field-${i}`).value = known < 0 ? "other" : known;
    if (known < 0 && $(`other-${i}`)) $(`other-${i}`).value = value ?? "";
  });
  changed();
}

// ---- the service

/** What the service did not answer, and why. */
class Refusal extends Error {
  constructor(status, detail, errors = [], wait = 1) {
    super(detail);
    Object.assign(this, { status, errors, wait });
  }
}

/** The answers to rows, given as JSON texts. */
async function predict(rows) {
  const body = `{"instances": [${rows.join(", ")}]}`;
  const headers = { "Content-Type": "application/json", Accept: "application/json" };
  let response, content;
  try {
    response = await fetch("predict", { method: "POST", headers, body });
    content = await response.json();
  } catch {
    throw new Refusal(0, "The service cannot be reached, or did not answer in JSON.");
  }
  if (response.ok) return content.predictions;
  const wait = Number(response.headers.get("Retry-After")) || 1;
  throw new Refusal(
    response.status,
    content.detail ?? `status ${response.status}`,
    content.errors,
    wait,
  );
}

// ---- one row

let asked = 0; // an answer that was overtaken by a later question is dropped

/** Mark a field with a message: `bad` was refused, `odd` was never seen in training. */
function mark(name, text, kind) {
  const i = features.findIndex((feature) => feature.name === name);
  if (i < 0) return false;
  const message = $(`message-${i}`);
  message.textContent += `${message.textContent && "; "}${text}`;
  message.className = `message ${kind}`;
  if (kind === "bad")
    for (const id of ["field", "other"]) $(`${id}-${i}`)?.setAttribute("aria-invalid", "true");
  return true;
}

/** Take the marks of a field away, or of all. */
function unmark(within = $("form")) {
  for (const message of within.querySelectorAll(".message")) message.textContent = "";
  for (const field of within.querySelectorAll("[aria-invalid]"))
    field.removeAttribute("aria-invalid");
}

/** Show a refusal: beside the fields that it names, and the rest above the form. */
function showRefusal({ message, errors }) {
  const others = errors.filter(({ loc, msg }) => !mark(loc[2], msg, "bad"));
  const list = element("ul");
  list.append(...others.map(({ loc, msg }) => element("li", `${loc.join(" ")}: ${msg}`)));
  const beside = errors.length - others.length;
  const words = beside
    ? `Refused: ${beside} ${beside > 1 ? "values" : "value"} to correct below.`
    : message;
  $("refused").replaceChildren(element("p", words), ...(others.length ? [list] : []));
  $("answer").replaceChildren(element("p", "No answer: the row was refused.", "hint"));
  const first = document.querySelector('#form [aria-invalid="true"]:not([hidden])');
  first?.focus();
}

/** A share as a person reads it. */
function percent(share) {
  if (share === null) return "none";
  if (share > 0 && share < 0.001) return "< 0.1 %";
  if (share < 1 && share > 0.999) return "> 99.9 %";
  return `${(100 * share).toFixed(1)} %`;
}

/** Class probabilities as bars, the largest first. */
function bars(probabilities) {
  const shares = Object.entries(probabilities).sort(([, a], [, b]) => b - a);
  const list = element("ul", "", "bars");
  for (const [name, share] of shares.slice(0, 12)) {
    const [item, track, bar] = [
      element("li"),
      element("span", "", "track"),
      element("span", "", "bar"),
    ];
    bar.style.width = `${100 * share}%`;
    track.append(bar);
    item.append(element("span", name), element("span", percent(share), "share"), track);
    list.append(item);
  }
  const rest = shares.slice(12).reduce((sum, [, share]) => sum + share, 0);
  if (shares.length > 12)
    list.append(element("li", `${shares.length - 12} more classes: ${percent(rest)}`));
  return list;
}

/** A label; a regression's has six digits. */
function labelOf(label) {
  const long = typeof label === "number" && !Number.isInteger(label);
  return String(long ? Number(label.toPrecision(6)) : label);
}

const FLAGS = {
  unknown_category: () => "never seen in training",
  below_minimum: ({ minimum }) => `below ${minimum}, the least in training`,
  above_maximum: ({ maximum }) => `above ${maximum}, the most in training`,
};

/** What a flag says. */
function flagText({ feature, flag }) {
  return FLAGS[flag]?.(features.find(({ name }) => name === feature)) ?? flag;
}

/** Show the answer to the form's row, and its flags beside the fields. */
function showAnswer({ label, probabilities, flags }) {
  const parts = [element("p", facts.target, "hint"), element("p", labelOf(label), "label")];
  if (probabilities) parts.push(bars(probabilities));
  for (const flag of flags) {
    mark(flag.feature, flagText(flag), "odd");
    parts.push(element("p", `${flag.feature}: ${flagText(flag)}`, "flagged"));
  }
  $("answer").replaceChildren(...parts);
  $("answer").scrollIntoView({ block: "nearest" });
}

$("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const mine = ++asked;
  let show;
  try {
    const [answer] = await predict([JSON.stringify(formRow())]);
    show = () => showAnswer(answer);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    show = () => showRefusal(error);
  }
  if (mine !== asked) return;
  unmark();
  $("refused").replaceChildren();
  show();
});

let last = -1;
$("random")?.addEventListener("click", () => {
  const others = facts.rows.map((_, i) => i).filter((i) => i !== last);
  last = others[Math.floor(Math.random() * others.length)] ?? 0;
  unmark();
  fill(facts.rows[last]);
});

$("form").addEventListener("input", (event) => {
  unmark(event.target.closest(".field"));
  changed();
});
$("form").addEventListener("reset", () => {
  unmark();
  $("refused").replaceChildren();
  setTimeout(changed); // the fields are reset after this event
});

/** Follow the form: other values have a field of their own, and the code has the row. */
function changed() {
  features.forEach((feature, i) => {
    if (feature.type === "category") $(`other-${i}`).hidden = $(`field-${i}`).value !== "other";
  });
  for (const [name, write] of Object.entries(CODE))
    if ($(name)) $(name).textContent = write(formRow());
}

// ---- the same by code

const address = new URL(".", location.href);

/** A value as a Python literal; JSON's strings and numbers are such. */
function python(value) {
  const words = new Map([
    [null, "None"],
    [true, "True"],
    [false, "False"],
  ]);
  return words.get(value) ?? JSON.stringify(value);
}

/** The datatype of a feature's tensor, and its value in it: V2 has no null. */
function tensor(feature, value) {
  const integer = feature.nullable ? "FP64" : "INT64";
  const kind = { number: "FP64", integer, boolean: "BOOL", category: "BYTES" }[feature.type];
  const missing = kind === "BYTES" ? '""' : 'float("nan")';
  return `("${kind}", ${value === null ? missing : python(value)})`;
}

/** Lines of a Python dict. */
function dict(pairs) {
  return `{\n${pairs.map(([name, value]) => `    ${python(name)}: ${value},\n`).join("")}}`;
}

const CODE = {
  curl(row) {
    const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
    const body = quoted(`{"instances": [${JSON.stringify(row, null, 2)}]}`);
    return `curl ${quoted(`${address}predict`)} --header 'Content-Type: application/json' --data ${body}\n`;
  },
  requests(row) {
    const pairs = Object.entries(row).map(([name, value]) => [name, python(value)]);
    return `import requests

row = ${dict(pairs)}
answer = requests.post(${python(`${address}predict`)}, json={"instances": [row]}, timeout=10)
answer.raise_for_status()
print(answer.json()["predictions"][0])
`;
  },
  tritonclient(row) {
    // A boolean's tensor has no missing value, so it is left out.
    const given = features.filter(
      ({ name, type }) => name in row && !(type === "boolean" && row[name] === null),
    );
    const pairs = given.map((feature) => [feature.name, tensor(feature, row[feature.name])]);
    const place = `${address.host}${address.pathname.replace(/\/$/, "")}`;
    const tls = address.protocol === "https:" ? ", ssl=True" : "";
    return `import numpy as np
import tritonclient.http as triton

row = ${dict(pairs)}
inputs = []
for name, (kind, value) in row.items():
    inputs.append(triton.InferInput(name, [1], kind))
    inputs[-1].set_data_from_numpy(np.array([value], triton.triton_to_np_dtype(kind)))
client = triton.InferenceServerClient(${python(place)}${tls})
print(client.infer(${python(facts.model)}, inputs).as_numpy("predict")[0])
`;
  },
};

/** Copy the text of an element; without https there is no clipboard, so it is selected at least. */
async function copy(source) {
  try {
    await navigator.clipboard.writeText(source.textContent);
    return "Copied.";
  } catch {
    getSelection().selectAllChildren(source);
    return document.execCommand("copy") ? "Copied." : "Selected: press Ctrl+C.";
  }
}

for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", async () => {
    $("copied").textContent = "";
    $("copied").textContent = await copy($(button.dataset.copy));
  });
}

// ---- many rows

let run = 0; // a file that was overtaken by a later one ends
let stopped = false;

/** The lines of a CSV text as lists of cells (RFC 4180, any line ending); empty ones are none. */
function parseCsv(text, separator) {
  const lines = [];
  let [cells, cell, quoted, seen] = [[], "", false, false];
  const endCell = () => {
    cells.push(cell);
    cell = "";
  };
  const endLine = () => {
    endCell();
    if (seen) lines.push(cells);
    [cells, seen] = [[], false];
  };
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (quoted) {
      if (c !== '"') cell += c;
      else if (text[i + 1] === '"') cell += text[++i];
      else quoted = false;
    } else if (c === "\n" || c === "\r") {
      if (c === "\r" && text[i + 1] === "\n") i++;
      endLine();
    } else {
      seen = true;
      if (c === '"' && cell === "") quoted = true;
      else if (c === separator) endCell();
      else cell += c;
    }
  }
  if (quoted) throw new Refusal(0, "A quote in the file is never closed.");
  if (seen) endLine();
  return lines;
}

/** The text of a file. */
async function textOf(file) {
  if (file.size > MOST_BYTES)
    throw new Refusal(0, "The file is larger than 50 MB: use `model-service score`.");
  try {
    // Without the byte order mark, which spreadsheets write.
    return new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
  } catch {
    throw new Refusal(0, "The file is no UTF-8 text; save it as such.");
  }
}

/** A file's column names, its rows, and what to say of its columns. */
function readTable(text) {
  const head = text.slice(0, text.search(/[\r\n]|$/));
  const [separator] = [",", ";", "\t"].sort((a, b) => head.split(b).length - head.split(a).length);
  const [names = [], ...lines] = parseCsv(text, separator);
  const used = features.filter(({ name }) => names.includes(name));
  const absent = features.filter(({ name }) => !names.includes(name));
  const twice = names.filter((name, i) => names.indexOf(name) < i);
  const needed = absent.filter(({ nullable }) => !nullable);
  const listed = (list) => list.map(({ name }) => name).join(", ");
  if (!used.length || needed.length) {
    throw new Refusal(
      0,
      `The first line must name the columns; there is no ${listed(used.length ? needed : features)}.`,
    );
  }
  if (twice.length) throw new Refusal(0, `Two columns are called ${twice[0]}.`);
  const note = absent.length ? ` Not in the file, so taken as missing: ${listed(absent)}.` : "";
  const rows = lines.map((cells, i) => {
    const values = used.map((feature) => [
      feature.name,
      valueOf(feature, cells[names.indexOf(feature.name)] ?? ""),
    ]);
    const fits = cells.length === names.length;
    const faults = fits ? [] : [`has ${cells.length} cells, not ${names.length}`];
    return { number: i + 1, cells, json: JSON.stringify(Object.fromEntries(values)), faults };
  });
  return { names, rows, note };
}

/** Rows in pieces that the service takes as one request. */
function* chunks(rows) {
  const most = Math.min(CHUNK, facts.max_rows);
  const encoder = new TextEncoder();
  let [chunk, bytes] = [[], 100];
  for (const row of rows) {
    const size = encoder.encode(row.json).length + 2;
    if (size + 100 > facts.max_bytes) {
      row.faults.push("is larger than a request may be");
      continue;
    }
    if (chunk.length === most || bytes + size > facts.max_bytes) {
      yield chunk;
      [chunk, bytes] = [[], 100];
    }
    chunk.push(row);
    bytes += size;
  }
  yield chunk;
}

/** Predict rows; one that is refused gets the reasons, and the others are sent again. */
async function answerRows(rows, goesOn) {
  let tries = 0;
  while (rows.length && goesOn()) {
    try {
      const answers = await predict(rows.map(({ json }) => json));
      rows.forEach((row, i) => (row.answer = answers[i]));
      return;
    } catch (error) {
      const named = (error.errors ?? []).filter(({ loc }) => rows[loc[1]]);
      if (error.status === 503 && ++tries < 30)
        await new Promise((done) => setTimeout(done, 1000 * error.wait));
      else if (!named.length) throw error;
      for (const { loc, msg } of named) rows[loc[1]].faults.push([...loc.slice(2), msg].join(" "));
      rows = rows.filter(({ faults }) => !faults.length);
    }
  }
}

/** A line of a table. */
function line(cells, tag = "td") {
  const made = element("tr");
  made.append(...cells.map((cell) => element(tag, cell)));
  return made;
}

/** Show what became of a file's rows. */
function showBatch(file, { names, rows, note }) {
  const answered = rows.filter(({ answer }) => answer);
  const refused = rows.filter(({ faults }) => faults.length);
  const left = rows.length - answered.length - refused.length;
  const counts = [
    `${COUNTED.format(answered.length)} answered`,
    `${COUNTED.format(refused.length)} refused`,
  ];
  if (left) counts.push(`${COUNTED.format(left)} not sent`);
  const most = answered.length > SHOWN ? ` The first ${SHOWN} are shown.` : "";
  $("summary").textContent = `${file}: ${counts.join(", ")}.${note}${most}`;
  const faults = refused
    .slice(0, SHOWN)
    .map((row) => element("li", `Row ${row.number}: ${row.faults.join("; ")}`));
  if (refused.length > SHOWN)
    faults.push(element("li", `${refused.length - SHOWN} more: see the download`));
  $("faults").replaceChildren(...faults);
  const [head, body] = [element("thead"), element("tbody")];
  head.append(line(["row", "prediction", "probability", ...names, "flags"], "th"));
  for (const { number, cells, answer } of answered.slice(0, SHOWN)) {
    const share = answer.probabilities?.[answer.label];
    const flags = answer.flags.map((flag) => `${flag.feature} ${flagText(flag)}`).join("; ");
    body.append(
      line([
        number,
        labelOf(answer.label),
        share === undefined ? "" : percent(share),
        ...cells,
        flags,
      ]),
    );
  }
  $("answers").replaceChildren(...(answered.length ? [head, body] : []));
  $("batch").hidden = false;
  $("download").onclick = () => download(table(names, rows));
}

/** Every row as CSV: its own columns, those that `model-service score` adds, and why it was refused. */
function table(names, rows) {
  const classes = Object.keys(rows.find(({ answer }) => answer)?.answer.probabilities ?? {});
  const added = ["prediction", ...classes.map((name) => `probability_${name}`), "flags", "refused"];
  const own = names.map((name, i) => [name, i]).filter(([name]) => !added.includes(name));
  const lines = rows.map(({ cells, answer, faults }) => {
    const shares = classes.map((name) => answer?.probabilities[name] ?? "");
    const flags = answer?.flags.map(({ feature, flag }) => `${feature}:${flag}`).join(" ");
    return [
      ...own.map(([, i]) => cells[i] ?? ""),
      answer?.label ?? "",
      ...shares,
      flags ?? "",
      faults.join("; "),
    ];
  });
  const quote = (cell) =>
    /[",\r\n]/.test(cell) ? `"${String(cell).replaceAll('"', '""')}"` : cell;
  return [[...own.map(([name]) => name), ...added], ...lines]
    .map((cells) => `${cells.map(quote).join(",")}\r\n`)
    .join("");
}

/** Hand a text to the person as a file. */
function download(text) {
  const link = element("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  link.download = `${facts.model}-answers.csv`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** Predict a file, piece by piece. */
async function predictFile(file) {
  const mine = ++run;
  const goesOn = () => mine === run && !stopped;
  stopped = false;
  const bar = document.querySelector("progress");
  $("batch-refused").replaceChildren();
  $("summary").textContent = "";
  $("batch").hidden = true;
  let read;
  try {
    read = readTable(await textOf(file));
    const good = read.rows.filter(({ faults }) => !faults.length);
    Object.assign(bar, { max: good.length || 1, value: 0 });
    $("progress").hidden = false;
    for (const chunk of chunks(good)) {
      if (!goesOn()) break;
      await answerRows(chunk, goesOn);
      bar.value += chunk.length;
    }
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    if (mine === run) $("batch-refused").textContent = error.message;
  }
  if (mine !== run) return;
  $("progress").hidden = true;
  if (read) showBatch(file.name, read);
}

$("stop").addEventListener("click", () => {
  stopped = true;
});
$("file").addEventListener("change", () => {
  if ($("file").files.length) predictFile($("file").files[0]);
  $("file").value = ""; // so that the same file can be chosen again
});
for (const kind of ["dragover", "dragleave", "drop"]) {
  $("drop").addEventListener(kind, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files.length)
      predictFile(event.dataTransfer.files[0]);
  });
}

changed();
