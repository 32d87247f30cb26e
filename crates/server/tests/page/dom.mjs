// As much of a browser as the page's scripts touch: elements that remember what was done to them, and a clock of frames.
// Nothing here parses HTML, so that what a script shows can only come of the calls it makes.

import { readFileSync } from "node:fs";
import vm from "node:vm";

const web = new URL("../../../../web/", import.meta.url);
const source = (name) => readFileSync(new URL(name, web), "utf8");

/** An element; its children are elements and strings. */
export class Element {
  children = [];
  parent = null;
  attributes = {};
  dataset = {};
  style = {};
  className = "";
  value = "";
  hidden = false;
  validity = { valid: true };
  scrollHeight = 0;
  scrollTop = 0;
  clientHeight = 0;
  #listeners = {};

  constructor(kind) {
    this.kind = kind;
  }

  classList = {
    has: (name) => this.className.split(" ").includes(name),
    toggle: (name, on) => {
      this.classList.remove(name);
      if (on) this.className += ` ${name}`;
    },
    remove: (name) => {
      this.className = this.className.split(" ").filter((one) => one !== name).join(" ");
    },
  };

  append(...nodes) {
    for (const node of nodes) {
      if (node instanceof Element && node.kind === "fragment") {
        for (const child of node.children) this.append(child);
        continue;
      }
      if (node instanceof Element) node.parent = this;
      this.children.push(node instanceof Element ? node : String(node));
    }
  }

  replaceChildren(...nodes) {
    this.children = [];
    this.append(...nodes);
  }

  remove() {
    const siblings = this.parent.children;
    siblings.splice(siblings.indexOf(this), 1);
  }

  get textContent() {
    return this.children.map((child) => child.textContent ?? child).join("");
  }

  set textContent(text) {
    this.replaceChildren(...(text === "" ? [] : [text]));
  }

  // Text that would be read as HTML: the page has no use for it.
  set innerHTML(html) {
    throw new Error(`innerHTML: ${html}`);
  }

  set outerHTML(html) {
    throw new Error(`outerHTML: ${html}`);
  }

  setAttribute(name, value) {
    this.attributes[name] = value;
  }

  removeAttribute(name) {
    delete this.attributes[name];
  }

  addEventListener(name, listener) {
    this.#listeners[name] = listener;
  }

  focus() {}

  /** Does what a user did. */
  happen(name, event = {}) {
    this.#listeners[name]?.({ preventDefault() {}, ...event });
  }

  /** All elements in it. */
  all() {
    const elements = this.children.filter((child) => child instanceof Element);
    return elements.flatMap((child) => [child, ...child.all()]);
  }
}

/** The scripts of the page on a page of their own. `fetch` is the server; what `names` names can be called. */
export function open({ fetch = async () => new Response("{}"), names = [] } = {}) {
  const html = source("index.html");
  const ids = new Map([...html.matchAll(/ id="([^"]+)"/g)].map(([, id]) => [id, new Element("div")]));
  ids.get("talk").parent = new Element("main");
  const document = new Element("document");
  document.createElement = (kind) => new Element(kind);
  document.createDocumentFragment = () => new Element("fragment");
  document.getElementById = (id) => ids.get(id) ?? null;
  const frames = new Map();
  const scope = {
    document,
    fetch,
    requestAnimationFrame: (draw) => frames.set(frames.size + 1, draw).size,
    cancelAnimationFrame: (frame) => frames.delete(frame),
  };
  const scripts = [...html.matchAll(/<script src="\/([^"]+)"/g)].map(([, name]) => source(name)).join("\n");
  const page = vm.runInThisContext(
    `(function (${Object.keys(scope)}) {${scripts}\nreturn { ${names} };})`,
    { filename: "web" },
  )(...Object.values(scope));
  const draw = () => {
    const due = [...frames.values()];
    frames.clear();
    for (const frame of due) frame();
  };
  return { ...page, $: (id) => ids.get(id), document, draw };
}
