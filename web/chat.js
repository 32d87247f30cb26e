// The chat page: what is typed goes to /v1/chat/completions, what comes back is shown as it comes.
// Text only ever enters the page as text, an answer's with its marks: see `markdown.js`.
"use strict";

const $ = (id) => document.getElementById(id);

const element = (kind, name, text = "") => {
  const made = document.createElement(kind);
  made.className = name;
  made.textContent = text;
  return made;
};

/** What the server says of its model; see `page.rs`. */
let info = null;
/** The conversation so far, as the API takes it. */
let messages = [];
/** Set while an answer is on its way; stops it. */
let answering = null;

// ---- what is shown ----

const scroller = $("scroll");

/** Changes the talk, and stays at its end for those who were there. */
function show(change) {
  const atEnd = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 60;
  change();
  if (atEnd) scroller.scrollTop = scroller.scrollHeight;
}

function add(name, text) {
  const message = element("div", name, text);
  $("welcome").hidden = true;
  show(() => $("talk").append(message));
  return message;
}

/** An answer while it is written: its parts, and where they are shown. Tool calls read [12*34 → 408]. */
class Answer {
  parts = [];
  box = add("message assistant busy", "");
  place = null;
  /** The frame that will show the text which has come; 0 if all is shown. */
  frame = 0;

  constructor() {
    // Nothing is read aloud before it is whole.
    this.box.setAttribute("aria-busy", "true");
  }

  push(kind, text) {
    const last = this.parts.at(-1);
    if (last?.type === kind) {
      last.text += text;
    } else {
      this.draw();
      this.parts.push({ type: kind, text });
      show(() => this.border(last?.type, kind));
    }
    if (kind === "text") this.frame ||= requestAnimationFrame(() => this.draw());
    else show(() => this.place.append(text));
  }

  /** Shows the text that has come: marks may close late, so all of the part anew, but once per frame at most. */
  draw() {
    if (!this.frame) return;
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    show(() => this.place.replaceChildren(markdown(this.parts.at(-1).text)));
  }

  border(before, kind) {
    const tool = kind !== "text";
    const wasTool = before !== undefined && before !== "text";
    const call = kind === "python_output" && before === "python";
    if (wasTool && !call) this.place.append("]" + (tool ? " " : ""));
    if (call) {
      this.place.append(" → ");
      return;
    }
    this.place = element("span", tool ? "tool" : "words");
    if (wasTool && !tool) this.box.append(" ");
    this.box.append(this.place);
    if (tool) this.place.append(kind === "python" ? "[" : "[→ ");
  }

  end() {
    this.draw();
    const last = this.parts.at(-1);
    if (last && last.type !== "text") this.place.append("]");
    this.box.classList.remove("busy");
    this.box.removeAttribute("aria-busy");
    if (!this.parts.some((part) => part.text)) this.box.remove();
  }

  /** As the API takes it; nothing if nothing was said. */
  message() {
    const parts = this.parts.filter((part) => part.text);
    if (parts.length === 0) return null;
    const plain = parts.every((part) => part.type === "text");
    return { role: "assistant", content: plain ? parts.map((part) => part.text).join("") : parts };
  }
}

// ---- settings ----

const settings = {
  temperature: $("temperature"),
  top_k: $("top-k"),
  max_tokens: $("max-tokens"),
};

/** The values that are in range; the server has its own for the others. */
function options() {
  const chosen = {};
  for (const [name, input] of Object.entries(settings)) {
    if (input.value !== "" && input.validity.valid) chosen[name] = Number(input.value);
  }
  return chosen;
}

function showTemperature() {
  $("temperature-shown").textContent = Number($("temperature").value).toFixed(1);
}

function openSettings(open) {
  $("settings").hidden = !open;
  $("open-settings").setAttribute("aria-expanded", String(open));
}

// ---- asking ----

/** A response that is no answer, as a sentence. */
async function sentence(response) {
  try {
    return (await response.json()).error.message;
  } catch {
    return `the server answered with status ${response.status}`;
  }
}

/** The data of each event of a stream, as it arrives. */
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (text + value).split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      if (block.startsWith("data: ")) yield block.slice("data: ".length);
    }
  }
}

/** Writes an answer to `messages` into `answer`. Returns why it ended. */
async function write(answer, signal) {
  const headers = { "Content-Type": "application/json" };
  if ($("key").value) headers.Authorization = `Bearer ${$("key").value}`;
  const body = JSON.stringify({ model: info.model, messages, stream: true, ...options() });
  const response = await fetch("/v1/chat/completions", { method: "POST", headers, body, signal });
  if (response.status === 401) {
    openSettings(true);
    $("key").focus();
  }
  if (!response.ok) throw new Error(await sentence(response));
  let finish = null;
  for await (const data of events(response)) {
    if (data === "[DONE]") return finish;
    const chunk = JSON.parse(data);
    if (chunk.error) throw new Error(chunk.error.message);
    const choice = chunk.choices[0];
    if (!choice) continue;
    const { content, part } = choice.delta;
    if (part) answer.push(part.type, part.text);
    if (content) answer.push("text", content);
    finish = choice.finish_reason ?? finish;
  }
  throw new Error("the connection broke before the end of the answer");
}

async function ask(text) {
  messages.push({ role: "user", content: text });
  const question = add("message user", text);
  scroller.scrollTop = scroller.scrollHeight;
  const control = new AbortController();
  const answer = new Answer();
  working(control);
  let trouble = null;
  try {
    if (!info) await meet();
    const finish = await write(answer, control.signal);
    if (finish === "length") trouble = ["remark", "cut off: more tokens can be allowed in the settings"];
  } catch (error) {
    const offline = error instanceof TypeError;
    if (control.signal.aborted) trouble = ["remark", "stopped"];
    else trouble = ["error", offline ? "the server cannot be reached; is it still running?" : error.message];
  }
  if (answering !== control) return; // a new conversation has begun meanwhile
  answer.end();
  const message = answer.message();
  if (message) {
    messages.push(message);
  } else {
    messages.pop();
    if (!trouble) {
      trouble = ["remark", "no answer"];
    } else if (!$("question").value) {
      // A question that could not be answered is given back.
      question.remove();
      $("question").value = text;
      fit();
    }
  }
  if (trouble) {
    add(`message ${trouble[0]}`, trouble[1]);
    scroller.scrollTop = scroller.scrollHeight;
  }
  working(null);
}

function working(control) {
  answering = control;
  $("send").textContent = control ? "Stop" : "Send";
  $("send").classList.toggle("stop", Boolean(control));
}

function send() {
  const text = $("question").value.trim();
  if (answering || !text) return;
  $("question").value = "";
  fit();
  ask(text);
}

function begin() {
  const control = answering;
  working(null);
  control?.abort();
  messages = [];
  $("talk").replaceChildren();
  $("welcome").hidden = false;
  $("question").focus();
}

// ---- the page ----

/** The box for the question is as high as what is in it. */
function fit() {
  const box = $("question");
  box.style.height = "auto";
  box.style.height = `${box.scrollHeight + 2}px`;
}

/** Asks the server who its model is. */
async function meet() {
  const response = await fetch("/info");
  if (!response.ok) throw new Error(await sentence(response));
  const told = await response.json();
  info = told;
  const colon = told.title.indexOf(": ");
  $("name").textContent = colon < 0 ? told.title : told.title.slice(0, colon);
  $("details").textContent = colon < 0 ? "" : told.title.slice(colon + 2);
  document.title = $("name").textContent;
  $("summary").textContent = told.summary;
  $("suggestions").replaceChildren(
    ...told.suggestions.map((question) => {
      const button = element("button", "", question);
      button.type = "button";
      button.addEventListener("click", () => answering || ask(question));
      const item = element("li", "");
      item.append(button);
      return item;
    }),
  );
  for (const [name, input] of Object.entries(settings)) {
    input.max = told.limits[name];
    input.value = Number(told.defaults[name].toPrecision(3));
  }
  $("question").maxLength = told.limits.message_chars;
  $("key-field").hidden = !told.needs_key;
  showTemperature();
}

$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  if (answering) answering.abort();
  else send();
});
$("question").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    send();
  }
});
$("question").addEventListener("input", fit);
$("new").addEventListener("click", begin);
$("open-settings").addEventListener("click", () => openSettings($("settings").hidden));
$("settings").addEventListener("submit", (event) => event.preventDefault());
$("temperature").addEventListener("input", showTemperature);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && answering) answering.abort();
});

meet().catch((error) => add("message error", `the server cannot be reached: ${error.message}`));
