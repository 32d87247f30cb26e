// What of a model's Markdown becomes elements, and that nothing else ever does.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Element, open } from "./dom.mjs";

const { markdown } = open({ names: ["markdown"] });

/** What is in an element as one line, in which an element is kind(…). */
function told(element) {
  return element.children.map((child) => (child instanceof Element ? `${child.kind}(${told(child)})` : child)).join("");
}

/** Fails unless the text became text and harmless elements alone, and nothing was added to it. */
function check(text) {
  const box = new Element("div");
  box.append(markdown(text));
  for (const element of box.all()) {
    assert.ok(["code", "strong", "em"].includes(element.kind), element.kind);
    assert.deepEqual(element.attributes, {});
    assert.ok(["", "block"].includes(element.className));
    const code = element.kind === "code";
    assert.ok(!code || element.all().length === 0, "code is not marked");
    assert.ok(Object.keys(element.dataset).every((name) => name === "language" && code));
  }
  let at = 0;
  for (const character of box.textContent) {
    at = text.indexOf(character, at) + 1;
    assert.ok(at > 0, `${JSON.stringify(text)} became ${JSON.stringify(box.textContent)}`);
  }
}

test("marks become elements", () => {
  for (const [text, expected] of [
    ["plain\ntext", "plain\ntext"],
    ["a **b** c", "a strong(b) c"],
    ["a *b* c", "a em(b) c"],
    ["**a `b` c**", "strong(a code(b) c)"],
    ["`**a**`", "code(**a**)"],
    ["# Title\nbody", "strong(Title)\nbody"],
    ["before\n```js\nlet a = '*b*';\n```\nafter", "beforecode(let a = '*b*';)after"],
    ["2 * 3 * 4 and a*b*c", "2 * 3 * 4 and a*b*c"],
    ["1 < 2 && 3 > 2 &amp;", "1 < 2 && 3 > 2 &amp;"],
  ]) {
    assert.equal(told(markdown(text)), expected, text);
    check(text);
  }
  assert.equal(markdown("``` js \nx\n```").all().find((node) => node.kind === "code").dataset.language, "js");
});

test("what is not closed stays as it is, but for a block of code", () => {
  for (const text of ["**bold", "*a **b *c", "`code", "a ** b", "****", "** **", "#", "# ", "``", "*"]) {
    assert.equal(told(markdown(text)), text);
  }
  assert.equal(told(markdown("```py\nprint(1)")), "code(print(1))");
  assert.equal(told(markdown("```py")), "```py");
});

test("hostile text stays text", () => {
  for (const text of [
    "<script>alert(1)</script>",
    "**<img src=x onerror=alert(1)>**",
    "[click](javascript:alert(1)) ![x](https://example.org/x.png) <https://example.org>",
    "```\"><script>alert(1)</script>\nx\n```",
    "# <iframe srcdoc='<script>alert(1)</script>'>",
    "`</code><script>alert(1)</script>`",
    "&lt;script&gt; \u0000 \u202e \ud800",
  ]) {
    check(text);
  }
});

test("a text that is still being written is shown at each of its beginnings", () => {
  const text = "# Plan\n\nFirst **bold *and* `code`**, then:\n```py\nprint('**no**')\n```\n*end* of `it` **all**.";
  for (let end = 0; end <= text.length; end++) check(text.slice(0, end));
});

test("any text is shown, and nothing is added to it", () => {
  // A fixed sequence: a failure can be repeated.
  let state = 1;
  const random = (below) => (state = (state * 48271) % 2147483647) % below;
  const pieces = ["*", "**", "`", "```", "\n", " ", "# ", "a", "b<i>", "é", "   ```js\n"];
  for (let round = 0; round < 5000; round++) {
    check(Array.from({ length: random(30) }, () => pieces[random(pieces.length)]).join(""));
  }
});

test("long texts take time in proportion", () => {
  const taken = (text) => {
    const before = process.cpuUsage();
    markdown(text);
    const { user, system } = process.cpuUsage(before);
    return (user + system) / 1000;
  };
  const pieces = ["*a ", "**a ", "*", "**", "`", "` ", "```\n", "```", "``` ", "# ", "#", " ", "\n", "a", "*a\n", " *a* "];
  const around = [["", ""], ["**x", "**"], ["```\n", "x"], ["# ", ""], ["", "x\n```\ny"]];
  for (const [piece, [begin, end]] of pieces.flatMap((piece) => around.map((both) => [piece, both]))) {
    // A quadratic expression takes many seconds.
    const text = begin + piece.repeat(Math.ceil(200_000 / piece.length)) + end;
    const ms = taken(text);
    assert.ok(ms < 2000, `${JSON.stringify(begin + piece)}: ${ms} ms`);
  }
});
