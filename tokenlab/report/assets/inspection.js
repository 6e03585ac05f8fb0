"use strict";
// One listener an event for the whole page; a token is the element a17 or b17. `#token=17`
// (side A) or `#token=b17` in the address opens the page at a token.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const tokens = document.querySelector(".tokens");
  const field = Object.fromEntries(
    [...document.querySelectorAll("#details bdi")].map((e) => [e.id.slice(2), e]));
  let focused = null;
  let marked = [];

  const place = (element) => [element.id[0], Number(element.id.slice(1))];
  const element = (side, n) => document.getElementById(side + n);
  const hex = (c) => c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
  const named = (text) => text
    .replace(/[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/gu, (c) => (c === "\n" ? "↵" : c === "\t" ? "⇥" : `<U+${hex(c)}>`))
    .replace(/^\p{M}/u, "\u25cc$&");
  const count = (n) => n.toLocaleString("en-US");

  // A token of no source byte belongs to the byte that follows it.
  const end = (of, n) => Math.max(of.stop[n], of.start[n] + 1);

  function overlapping(side, n) {
    const mine = data[side];
    const other = data[side === "a" ? "b" : "a"];
    if (!other) return [];
    const from = mine.start[n];
    const to = end(mine, n);
    let low = 0;
    let high = other.start.length;
    while (low < high) { // The first token that begins at `to` or later.
      const middle = (low + high) >> 1;
      if (other.start[middle] < to) low = middle + 1; else high = middle;
    }
    const found = [];
    for (let m = low - 1; m >= 0 && other.start[m] + 65536 > from; m--) {
      if (end(other, m) > from) found.push(element(side === "a" ? "b" : "a", m));
      else if (other.stop[m] < from) break;
    }
    return found;
  }

  function show(token) {
    for (const e of marked) e.classList.remove("on", "over");
    marked = [];
    if (!token) return;
    const [side, n] = place(token);
    const of = data[side];
    const id = of.id[n];
    const slice = of.stop[n] - of.start[n];
    const odd = of.text_is === "source" && slice !== of.bytes[n] ? ` (the slice has ${count(slice)})` : "";
    field.token.textContent = `${count(n)} of ${count(of.id.length)}${data.b ? `, side ${side.toUpperCase()}` : ""}`;
    field.id.textContent = id;
    field.piece.textContent = named(of.piece[id]) + (token.classList.contains("o") ? `  ${token.textContent}` : "");
    field.source.textContent = slice ? `“${named(of.source[n])}”` : "nothing";
    field.bytes.textContent = count(of.bytes[n]) + odd;
    field.offset.textContent = `${count(of.start[n])} to ${count(of.stop[n])} of ${count(of.source_bytes)}`;
    field.spells.textContent = of.spells[id].toUpperCase().replace(/../g, "$& ").trim();
    marked = [token, ...overlapping(side, n)];
    marked.forEach((e, i) => e.classList.add(i ? "over" : "on"));
  }

  function focus(token) {
    if (!token) return;
    if (focused && place(focused)[0] === place(token)[0]) focused.removeAttribute("tabindex");
    else tokens.querySelectorAll(`[id^="${token.id[0]}"][tabindex]`).forEach((e) => e.removeAttribute("tabindex"));
    token.tabIndex = 0;
    token.focus();
  }

  // The token nearest to `from` on the line of tokens above (-1) or below (1).
  function vertical(from, step) {
    const [side, n] = place(from);
    const at = from.getBoundingClientRect();
    const middle = (at.left + at.right) / 2;
    let line = null;
    let best = null;
    let distance = Infinity;
    for (let m = n + step; m >= 0 && m < data[side].id.length; m += step) {
      const box = element(side, m).getBoundingClientRect();
      if (line === null && Math.abs(box.bottom - at.bottom) < 12) continue;
      if (line === null) line = box.bottom;
      if (Math.abs(box.bottom - line) > 12) break;
      const away = Math.abs((box.left + box.right) / 2 - middle);
      if (away < distance) [best, distance] = [element(side, m), away];
    }
    return best;
  }

  tokens.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || !event.target.id) return;
    const [side, n] = place(event.target);
    const last = data[side].id.length - 1;
    const target = {
      ArrowRight: () => element(side, Math.min(n + 1, last)),
      ArrowLeft: () => element(side, Math.max(n - 1, 0)),
      ArrowDown: () => vertical(event.target, 1),
      ArrowUp: () => vertical(event.target, -1),
      Home: () => element(side, 0),
      End: () => element(side, last),
    }[event.key];
    if (!target) return;
    event.preventDefault();
    focus(target());
  });
  tokens.addEventListener("focusin", (event) => { focused = event.target; show(focused); });
  tokens.addEventListener("click", (event) => focus(event.target.closest(".t")));
  tokens.addEventListener("pointerover", (event) => {
    const token = event.target.closest(".t");
    if (token) show(token);
  });
  tokens.addEventListener("pointerleave", () => show(focused));

  function follow() {
    const asked = /^#token=([ab]?)(\d+)$/.exec(location.hash);
    const token = asked && element(asked[1] || "a", asked[2]);
    if (token) {
      focus(token);
      token.scrollIntoView({ block: "center" });
    }
  }
  addEventListener("hashchange", follow);
  follow();
})();
