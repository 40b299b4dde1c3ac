// Output of running steps, as it comes. Without this script the page reloads itself instead.
"use strict";
(() => {
  const PAUSE = 1000;
  const root = document.querySelector("[data-live-output]");
  if (!root) return;
  const said = document.getElementById("live-state");
  let after = root.dataset.after;
  let failures = 0;

  // Text nodes only: what a host writes never becomes markup.
  const add = (piece) => {
    const place = document.getElementById("live-" + piece.step + "-" + piece.stream);
    if (!place) return;
    const pre = place.querySelector("pre");
    const follows = pre.scrollTop + pre.clientHeight >= pre.scrollHeight - 8;
    pre.append(document.createTextNode(piece.text));
    place.hidden = false;
    const nothing = document.getElementById("live-" + piece.step + "-nothing");
    if (nothing) nothing.hidden = true;
    if (follows) pre.scrollTop = pre.scrollHeight;
  };

  const look = async () => {
    const address = root.dataset.liveOutput + "?after=" + encodeURIComponent(after);
    try {
      const answer = await fetch(address, { credentials: "same-origin", cache: "no-store", redirect: "manual" });
      // Signed out meanwhile: the page itself leads to the sign-in.
      if (answer.type === "opaqueredirect") return location.reload();
      if (!answer.ok) throw new Error("status " + answer.status);
      const found = await answer.json();
      failures = 0;
      said.textContent = "live";
      after = found.next;
      found.pieces.forEach(add);
      if (found.ended || found.status !== root.dataset.status) {
        location.reload();
        return;
      }
    } catch (error) {
      failures += 1;
      said.textContent = "the server does not answer; trying again";
    }
    setTimeout(look, PAUSE * Math.min(1 + failures, 10));
  };
  for (const pre of root.querySelectorAll("pre")) pre.scrollTop = pre.scrollHeight;
  setTimeout(look, PAUSE);
})();
