// The page's talk with a server that is played here: what is sent, what is shown of what comes, and how it ends.

import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { open } from "./dom.mjs";

const INFO = {
  title: "Tiny: a model",
  summary: "small",
  suggestions: ["Why?"],
  model: "tiny",
  needs_key: false,
  defaults: { temperature: 0.8, top_k: 50, max_tokens: 64 },
  limits: { temperature: 2, top_k: 200, max_tokens: 4096, message_chars: 8000 },
};

const chunk = (delta, finish_reason = null) => `data: ${JSON.stringify({ choices: [{ delta, finish_reason }] })}\n\n`;
const said = (text) => chunk({ content: text });
const END = `${chunk({}, "stop")}data: [DONE]\n\n`;

/** A page whose server answers each question with what `reply` makes of the request. */
async function page(reply) {
  const requests = [];
  const opened = open({
    fetch: async (path, options) => {
      if (path === "/info") return new Response(JSON.stringify(INFO));
      requests.push({ ...options, body: JSON.parse(options.body) });
      return reply(requests.length, options);
    },
  });
  await quiet();
  const { $, draw } = opened;
  return {
    ...opened,
    requests,
    send(text) {
      $("question").value = text;
      $("composer").happen("submit");
    },
    /** What the talk shows, message by message: kind and text. */
    shown() {
      draw();
      return $("talk").children.map((message) => [message.className.replace("message ", ""), message.textContent]);
    },
  };
}

/** Waits until nothing is left to be done but what the server does. */
async function quiet() {
  for (let turn = 0; turn < 20; turn++) await setImmediate();
}

/** A response that the test writes as it likes. */
function stream(signal) {
  let control;
  const body = new ReadableStream({ start: (given) => (control = given) });
  signal?.addEventListener("abort", () => control.error(new DOMException("", "AbortError")));
  return {
    response: new Response(body),
    write: (text) => control.enqueue(typeof text === "string" ? new TextEncoder().encode(text) : text),
    close: () => control.close(),
  };
}

test("an answer is the same however its bytes are cut", async () => {
  const bytes = new TextEncoder().encode(`: still here\n\n${said("Naïve ")}${said("**€**")}${said("\n\ndata: x")}${END}`);
  for (let cut = 0; cut < bytes.length; cut++) {
    const one = await page(() => {
      const { response, write, close } = stream();
      for (const part of [bytes.slice(0, cut), bytes.slice(cut)]) write(part);
      close();
      return response;
    });
    one.send("hi");
    await quiet();
    assert.deepEqual(one.shown(), [["user", "hi"], ["assistant", "Naïve €\n\ndata: x"]], `cut at ${cut}`);
  }
});

test("an answer appears while it is written, and the next question knows it", async () => {
  const answer = stream();
  const one = await page((count) => (count === 1 ? answer.response : new Response(said("Bye.") + END)));
  assert.deepEqual([one.document.title, one.$("details").textContent], ["Tiny", "a model"]);
  one.send(" hi ");
  await quiet();
  assert.equal(one.$("send").textContent, "Stop");
  for (const [piece, all] of [["It ", "It "], ["is", "It is"], [" so.", "It is so."]]) {
    answer.write(said(piece));
    await quiet();
    assert.deepEqual(one.shown()[1], ["assistant busy", all]);
  }
  answer.write(END);
  await quiet();
  assert.equal(one.$("send").textContent, "Send");
  one.send("and?");
  await quiet();
  const [first, second] = one.requests.map((request) => request.body);
  assert.deepEqual(first, {
    model: "tiny", stream: true, temperature: 0.8, top_k: 50, max_tokens: 64,
    messages: [{ role: "user", content: "hi" }],
  });
  assert.deepEqual(second.messages, [
    { role: "user", content: "hi" }, { role: "assistant", content: "It is so." }, { role: "user", content: "and?" },
  ]);
});

test("a tool call is shown as one, and sent back in parts", async () => {
  const part = (type, text) => chunk({ part: { type, text } });
  const one = await page(() => new Response(
    said("It is ") + part("python", "12*") + part("python", "34") + part("python_output", "408") + said("408.") + END,
  ));
  one.send("12 * 34?");
  await quiet();
  assert.deepEqual(one.shown()[1], ["assistant", "It is [12*34 → 408] 408."]);
  one.send("sure?");
  await quiet();
  assert.deepEqual(one.requests[1].body.messages[1].content, [
    { type: "text", text: "It is " }, { type: "python", text: "12*34" }, { type: "python_output", text: "408" },
    { type: "text", text: "408." },
  ]);
});

test("an answer that is stopped stays as far as it came", async () => {
  for (const stop of [(one) => one.$("composer").happen("submit"), (one) => one.document.happen("keydown", { key: "Escape" })]) {
    const one = await page((_, { signal }) => {
      const { response, write } = stream(signal);
      write(said("It is"));
      return response;
    });
    one.send("hi");
    await quiet();
    stop(one);
    await quiet();
    assert.deepEqual(one.shown(), [["user", "hi"], ["assistant", "It is"], ["remark", "stopped"]]);
    assert.equal(one.$("send").textContent, "Send");
    one.send("go on");
    await quiet();
    assert.equal(one.requests[1].body.messages[1].content, "It is");
  }
});

test("a new conversation hears nothing of the old one", async () => {
  const old = stream();
  const one = await page((count) => (count === 1 ? old.response : new Response(said("new") + END)));
  one.send("old");
  await quiet();
  one.$("new").happen("click");
  old.write(said("late") + END);
  await quiet();
  assert.deepEqual([one.shown(), one.$("welcome").hidden], [[], false]);
  one.send("hi");
  await quiet();
  assert.deepEqual(one.shown(), [["user", "hi"], ["assistant", "new"]]);
  assert.equal(one.requests[1].body.messages.length, 1);
});

test("what goes wrong is a sentence, and the question is given back", async () => {
  const error = (status, message) => new Response(JSON.stringify({ error: { message } }), { status });
  for (const [reply, sentence] of [
    [() => error(429, "too many wait"), "too many wait"],
    [() => new Response("<html>", { status: 502 }), "the server answered with status 502"],
    [() => new Response(`data: ${JSON.stringify({ error: { message: "no memory" } })}\n\n`), "no memory"],
    [() => new Response(": hello\n\n"), "the connection broke before the end of the answer"],
    [() => Promise.reject(new TypeError("fetch failed")), "the server cannot be reached; is it still running?"],
  ]) {
    const one = await page(reply);
    one.send("hi");
    await quiet();
    assert.deepEqual(one.shown(), [["error", sentence]]);
    assert.deepEqual([one.$("question").value, one.$("send").textContent], ["hi", "Send"]);
  }
  // What was said before it went wrong stays.
  const broken = await page(() => new Response(said("It is")));
  broken.send("hi");
  await quiet();
  assert.deepEqual(broken.shown().map(([kind]) => kind), ["user", "assistant", "error"]);
});

test("a key is asked for and sent", async () => {
  const one = await page((count) => (count === 1 ? new Response("{}", { status: 401 }) : new Response(said("yes") + END)));
  one.$("settings").hidden = true;
  one.send("hi");
  await quiet();
  assert.equal(one.$("settings").hidden, false);
  assert.equal(one.requests[0].headers.Authorization, undefined);
  one.$("key").value = "secret";
  one.send("hi");
  await quiet();
  assert.equal(one.requests[1].headers.Authorization, "Bearer secret");
});

test("settings out of range are left to the server", async () => {
  const one = await page(() => new Response(said("yes") + END));
  one.$("top-k").value = "999";
  one.$("top-k").validity = { valid: false };
  one.$("max-tokens").value = "";
  one.send("hi");
  await quiet();
  const { top_k, max_tokens, temperature } = one.requests[0].body;
  assert.deepEqual([top_k, max_tokens, temperature], [undefined, undefined, 0.8]);
});
