// What every page needs: busy buttons, and a failed request told in the page.
// Without this file everything works by links and forms.
"use strict";

(() => {
  const menu = document.getElementById("menu");

  // A page that the browser kept whole while the user went elsewhere, perhaps signed out: ask the server again.
  window.addEventListener("pageshow", (event) => {
    if (!event.persisted || !menu) return;
    // Its address may be that of a form, which only a change answers with a page.
    const home = document.querySelector("[data-home]")?.dataset.home ?? menu.querySelector("a").href;
    if (document.querySelector("[data-field=secret-key]")) location.replace(home);
    else location.reload();
  });

  // Escape puts away the tooltip under the pointer or the focus (WCAG 1.4.13).
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") document.documentElement.classList.add("no-tooltips");
  });
  for (const type of ["focusin", "pointerover"]) {
    document.addEventListener(type, () => document.documentElement.classList.remove("no-tooltips"));
  }

  // --- Telling ---------------------------------------------------------------------------------------------

  // Emptied first, and filled a moment later: so the same sentence is spoken again.
  const say = (region, text) => {
    region.textContent = "";
    setTimeout(() => {
      region.textContent = text;
      // What failed is told over the end of the page, perhaps over the button that was pressed (WCAG 2.4.11).
      if (region === failure) document.querySelector(":focus")?.scrollIntoView({ block: "nearest" });
    }, 60);
  };
  window.announce = (text) => say(document.getElementById("announcement"), text);

  const failure = document.getElementById("failure");
  const regions = () => document.querySelectorAll("[data-failure]");
  const hush = () => regions().forEach((region) => { region.textContent = ""; });
  const tell = (text) => {
    hush();
    // What lies behind an open dialog can be neither seen nor heard.
    say(document.querySelector("dialog[open] [data-failure]") ?? failure, text);
  };
  window.tellFailure = tell;

  // --- Requests by htmx ------------------------------------------------------------------------------------

  const busy = new Map();

  document.addEventListener("htmx:beforeRequest", (event) => {
    hush();
    const { xhr, requestConfig } = event.detail;
    const button = requestConfig.triggeringEvent?.submitter ?? event.target.querySelector("[type=submit]:enabled");
    if (!button) return;
    busy.set(xhr, { button, focused: document.activeElement === button });
    button.setAttribute("aria-busy", "true");
    button.disabled = true;
  });

  document.addEventListener("htmx:afterRequest", (event) => {
    const held = busy.get(event.detail.xhr);
    busy.delete(event.detail.xhr);
    if (!held) return;
    held.button.removeAttribute("aria-busy");
    held.button.disabled = false;
    if (held.focused && held.button.isConnected && [document.body, null].includes(document.activeElement)) held.button.focus();
  });

  document.addEventListener("htmx:sendError", () => tell(failure.dataset.network));
  document.addEventListener("htmx:timeout", () => tell(failure.dataset.network));
  document.addEventListener("htmx:swapError", () => tell(failure.dataset.server));
  document.addEventListener("htmx:responseError", (event) => {
    tell(event.detail.xhr.status < 500 ? failure.dataset.refused : failure.dataset.server);
  });
  document.addEventListener("htmx:beforeSwap", (event) => {
    const { detail } = event;
    // A whole page where a part was asked for: some proxy's, not ours.
    if (detail.shouldSwap && /^\s*<(!doctype|html)/i.test(detail.serverResponse)) {
      detail.shouldSwap = false;
      tell(failure.dataset.server);
    }
  });
})();
