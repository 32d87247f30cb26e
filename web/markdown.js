// Markdown as models write it, as far as a talk needs it: code, bold, italics, headings; all else stays as it was written.
// Only elements that are made here, and text, ever come of it: no HTML, no links, no pictures.
"use strict";

/** A block of code and its language; one that is not closed yet goes to the end. */
const FENCE = /^ {0,3}```([^`\n]*)\n([\s\S]*?)(?:^ {0,3}```[ \t]*(?:\n|$)|$(?![\s\S]))/gm;

/** `code`, **bold** and *italics*. A star between spaces or between letters multiplies. */
const WORDS =
  /(?<!`)`([^`\n]+)`(?!`)|\*\*(?=[^\s*])([^*\n]+?)(?<=\S)\*\*|(?<![\w*])\*(?=[^\s*])([^*\n]+?)(?<=\S)\*(?![\w*])/g;

/** The same and # headings, which are never inside others. */
const MARKS = new RegExp(`${WORDS.source}|^#{1,6} +(.+)$`, "gm");

/** Puts a text without blocks into an element; `deep` for one that is marked itself. */
function mark(place, text, deep = false) {
  let at = 0;
  for (const found of text.matchAll(deep ? WORDS : MARKS)) {
    const [all, code, bold, italics, heading] = found;
    const made = document.createElement(code ? "code" : italics ? "em" : "strong");
    const inner = code ?? bold ?? italics ?? heading;
    if (code || deep) made.append(inner);
    else mark(made, inner, true);
    place.append(text.slice(at, found.index), made);
    at = found.index + all.length;
  }
  place.append(text.slice(at));
}

/** A text as elements. */
function markdown(text) {
  const made = document.createDocumentFragment();
  let at = 0;
  for (const found of text.matchAll(FENCE)) {
    const [all, language, code] = found;
    const block = document.createElement("code");
    block.className = "block";
    block.dataset.language = language.trim();
    block.append(code.replace(/\n$/, ""));
    mark(made, text.slice(at, found.index).replace(/(?<!\n)\n+$/, ""));
    made.append(block);
    at = found.index + all.length;
  }
  const rest = text.slice(at);
  mark(made, at > 0 ? rest.replace(/^\n+/, "") : rest);
  return made;
}
