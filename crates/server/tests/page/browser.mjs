// A talk in headless Chromium, driven by its own protocol over two pipes. Usage: node browser.mjs URL [CHROMIUM [PICTURE]]
// The server must answer at length, so that there is time to stop it.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const [url, chromium = "chromium", picture] = process.argv.slice(2);

/** Chromium and one page in it. Everything that the page complains of is in `complaints`. */
class Browser {
  complaints = [];
  #waiting = new Map();
  #folder = mkdtempSync(join(tmpdir(), "ferrochat-page-"));
  #rest = "";
  #last = 0;

  async start() {
    const flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"];
    this.process = spawn(
      chromium,
      [...flags, "--remote-debugging-pipe", `--user-data-dir=${this.#folder}`, "about:blank"],
      { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] },
    );
    this.process.on("error", (error) => fail(`Chromium does not start: ${error.message}`));
    this.process.stdio[4].on("data", (data) => this.#hear(data));
    const { targetId } = await this.call("Target.createTarget", { url: "about:blank" });
    this.session = (await this.call("Target.attachToTarget", { targetId, flatten: true })).sessionId;
    for (const domain of ["Page", "Runtime", "Log"]) await this.call(`${domain}.enable`);
  }

  #hear(data) {
    const messages = (this.#rest + data).split("\0");
    this.#rest = messages.pop();
    for (const { id, result, error, method, params } of messages.map((message) => JSON.parse(message))) {
      const [resolve, reject] = this.#waiting.get(id) ?? [];
      if (error) reject?.(new Error(error.message));
      else resolve?.(result);
      if (method === "Runtime.exceptionThrown") this.complaints.push(params.exceptionDetails.exception?.description);
      if (method === "Log.entryAdded" && params.entry.level !== "info") this.complaints.push(params.entry.text);
      if (method === "Runtime.consoleAPICalled") this.complaints.push(params.args.map((arg) => arg.value).join(" "));
    }
  }

  call(method, params = {}) {
    const id = ++this.#last;
    this.process.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId: this.session })}\0`);
    return new Promise((resolve, reject) => this.#waiting.set(id, [resolve, reject]));
  }

  /** The value of an expression on the page. */
  async value(expression) {
    const { result, exceptionDetails } = await this.call("Runtime.evaluate", { expression, returnByValue: true });
    assert.ok(!exceptionDetails, `${expression}: ${exceptionDetails?.exception?.description}`);
    return result.value;
  }

  /** Waits until an expression is true. */
  async until(expression) {
    for (let end = Date.now() + 20_000; Date.now() < end; ) {
      if (await this.value(expression)) return;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    assert.fail(`${expression} did not become true; the talk is ${await this.value("document.body.innerText")}`);
  }

  async press(key) {
    const event = { key, code: key, windowsVirtualKeyCode: 13, text: "\r" };
    await this.call("Input.dispatchKeyEvent", { type: "keyDown", ...event });
    await this.call("Input.dispatchKeyEvent", { type: "keyUp", ...event });
  }

  async type(text) {
    await this.value("document.getElementById('question').focus()");
    await this.call("Input.insertText", { text });
    await this.press("Enter");
  }

  async end() {
    const gone = new Promise((resolve) => this.process.on("exit", resolve));
    this.process.kill();
    await gone;
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

function fail(sentence) {
  console.error(sentence);
  process.exit(1);
}

const browser = new Browser();
// A page that hangs answers no question.
setTimeout(() => {
  browser.process.kill("SIGKILL");
  fail("the talk took more than a minute");
}, 60_000).unref();
await browser.start();
try {
  await browser.call("Page.navigate", { url });
  await browser.until("document.getElementById('suggestions')?.children.length > 0");
  const length = "(document.querySelector('#talk .assistant')?.innerText.length ?? 0)";

  // The answer grows while it is written. The page clicks as soon as it sees enough: answers may come fast.
  await browser.value(`{
    window.lengths = [];
    document.getElementById("max-tokens").value = document.getElementById("max-tokens").max;
    new MutationObserver((_, observer) => {
      const length = ${length};
      if (length > (lengths.at(-1) ?? 0)) lengths.push(length);
      if (lengths.length < 3) return;
      observer.disconnect();
      document.getElementById("send").click();
    }).observe(document.getElementById("talk"), { childList: true, subtree: true, characterData: true });
  }`);
  await browser.type("Why?");
  await browser.until("document.querySelector('#talk .remark')?.innerText === 'stopped'");
  const lengths = await browser.value("lengths");
  assert.ok(lengths.length >= 3, `the answer did not grow: ${lengths}`);
  assert.equal(await browser.value("document.querySelector('#talk .user').innerText"), "Why?");
  const stopped = await browser.value(length);
  await new Promise((resolve) => setTimeout(resolve, 300));
  assert.equal(await browser.value(length), stopped, "nothing comes after a stop");
  assert.equal(await browser.value("document.getElementById('send').innerText"), "Send");

  // The talk goes on, and begins anew.
  await browser.value("document.getElementById('max-tokens').value = 5");
  await browser.type("<b>And?</b>");
  await browser.until("document.querySelectorAll('#talk .assistant:not(.busy)').length === 2");
  assert.equal(await browser.value("document.querySelectorAll('#talk .user')[1].innerText"), "<b>And?</b>");
  if (picture) {
    const { data } = await browser.call("Page.captureScreenshot");
    writeFileSync(picture, Buffer.from(data, "base64"));
  }
  await browser.value("document.getElementById('new').click()");
  assert.equal(await browser.value("document.getElementById('talk').children.length"), 0);
  assert.deepEqual(browser.complaints, [], "the page complains of nothing");
  console.log(`an answer grew by ${lengths}, was stopped at ${stopped} characters; nothing was complained of`);
} catch (error) {
  console.error(error.message, browser.complaints);
  process.exitCode = 1;
} finally {
  await browser.end();
}
