// The page of a client: its dialog, and what copies, hides and saves credentials, as a list of clients copies too. Nothing here
// is needed to use the page, and nothing is stored: what is copied or saved is what stands in the page.
"use strict";

(() => {
  // --- The credentials -------------------------------------------------------------------------------------

  const hidden = new WeakMap(); // the field that is hidden -> what it shows otherwise

  const textOf = (id) => {
    const field = document.getElementById(id);
    return hidden.get(field) ?? field.textContent;
  };

  const setHidden = (field, hide) => {
    if (hide && !hidden.has(field)) {
      hidden.set(field, field.textContent);
      field.textContent = "•".repeat(24);
      document.getElementById("env-lines")?.remove();
    } else if (!hide && hidden.has(field)) {
      field.textContent = hidden.get(field);
      hidden.delete(field);
    }
    document.querySelector(`[data-mask="${field.id}"]`)?.setAttribute("aria-pressed", String(hide));
  };

  const envLines = () => `CLIENT_ID=${textOf("client-id")}\nCLIENT_SECRET=${textOf("secret-key")}\n`;

  // For at least five seconds, or until the next action; beside the button and out of the flow, so nothing moves.
  let confirmation = null;
  const confirmAt = (button, text, done) => {
    clearTimeout(confirmation?.timer);
    confirmation?.end();
    const bubble = document.createElement("span");
    bubble.className = "bubble";
    bubble.setAttribute("aria-hidden", "true"); // #announcement says it
    bubble.textContent = text;
    button.append(bubble);
    button.classList.toggle("done", done);
    const end = () => {
      bubble.remove();
      button.classList.remove("done");
      confirmation = null;
    };
    confirmation = { end, timer: setTimeout(end, 6000) };
  };

  // Where both lines can be selected, once copying them has failed.
  const envField = () => {
    let field = document.getElementById("env-lines");
    if (!field) {
      field = document.createElement("pre");
      field.id = "env-lines";
      field.translate = false;
      document.querySelector("[data-copy-env]").parentElement.after(field);
    }
    field.textContent = envLines();
    return field;
  };

  // `fieldToSelect` gives the element that has the text, for the reader to copy by hand.
  const copy = async (button, text, fieldToSelect) => {
    const words = button.closest("[data-press]").dataset;
    const what = button.querySelector("[data-copied]").dataset.copied;
    try {
      await navigator.clipboard.writeText(text); // not there on plain http, and may be forbidden
      confirmAt(button, words.copied, true);
      window.announce?.(what);
    } catch {
      const field = fieldToSelect();
      setHidden(field, false);
      getSelection().selectAllChildren(field);
      const press = /Mac|iP(hone|ad)/.test(navigator.platform) ? words.pressMac : words.press;
      confirmAt(button, press, false);
      window.announce?.(`${words.copyFailed} ${press}`);
    }
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-press] button");
    if (!button) return;
    if (button.dataset.copy) {
      const id = button.dataset.copy;
      copy(button, textOf(id), () => document.getElementById(id));
    } else if ("copyEnv" in button.dataset) {
      copy(button, envLines(), envField);
    } else if (button.dataset.mask) {
      setHidden(document.getElementById(button.dataset.mask), button.getAttribute("aria-pressed") !== "true");
    } else if (button.dataset.downloadEnv) {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([envLines()], { type: "text/plain" }));
      link.download = button.dataset.downloadEnv;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
      window.announce?.(button.dataset.done);
    }
  });

  // What only a script can do is there only with one.
  const upgrade = () => {
    document.querySelectorAll("[data-needs-script]").forEach((element) => { element.hidden = false; });
  };
  upgrade();

  // --- The dialog ------------------------------------------------------------------------------------------

  const dialog = document.getElementById("key-dialog");
  if (!dialog) return; // a list of clients
  const body = document.getElementById("key-dialog-body");
  const section = () => document.getElementById("api-key");
  const heading = () => document.getElementById("api-key-title");

  let opener = null; // where the focus goes when the dialog is closed, unless an answer moved it on

  // A typed password must not wait in a closed dialog. But htmx needs the form that it sent until its answer is here: an
  // answer with a new secret must not be lost because somebody pressed Escape meanwhile.
  const clear = () => {
    if (dialog.open || body.querySelector("[aria-busy=true]")) return;
    body.replaceChildren();
    dialog.removeAttribute("aria-labelledby");
    dialog.removeAttribute("aria-describedby");
  };
  document.addEventListener("htmx:afterRequest", () => setTimeout(clear));

  const close = () => {
    if (dialog.open) dialog.close();
    if (opener) (opener.isConnected ? opener : heading()).focus();
    opener = null;
  };

  // The browser tells of the closing a moment later. Until then the focus would be nowhere, so it does not wait for that;
  // and an answer, or the next prompt, may have come in between.
  dialog.addEventListener("close", () => {
    if (dialog.open) return;
    clear();
    dialog.querySelector("[data-failure]").textContent = "";
    close();
  });

  dialog.addEventListener("cancel", (event) => { // Escape
    event.preventDefault();
    close();
  });

  document.addEventListener("click", (event) => {
    if (!event.target.closest?.("dialog [data-close-dialog]")) return;
    event.preventDefault();
    close();
  });

  // The second click of a double click belongs to what the first one met. Once the dialog has opened or closed in between,
  // it would meet something else: the button of the prompt, or the page beneath.
  let openAtFirstClick = false;
  for (const type of ["mousedown", "click"]) {
    document.addEventListener(type, (event) => {
      if (type === "mousedown" && event.detail === 1) openAtFirstClick = dialog.open;
      if (event.detail < 2 || dialog.open === openAtFirstClick) return;
      event.preventDefault();
      event.stopImmediatePropagation();
    }, true);
  }

  // Enter in a field of a prompt that changes something goes to its button and does nothing else; pressed again, it confirms.
  dialog.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !["password", "radio"].includes(event.target.type)) return;
    const form = event.target.form;
    if (!form.querySelector("[type=submit]:disabled")) return;
    event.preventDefault();
    form.querySelector("[data-confirm]").focus();
  });

  const seen = new WeakSet(); // htmx tells once for each element that it put in
  document.addEventListener("htmx:afterSwap", (event) => {
    const { target, xhr, requestConfig } = event.detail;
    if (seen.has(xhr)) return;
    seen.add(xhr);
    if (target.id === "key-dialog-body") {
      if (dialog.open) {
        const field = body.querySelector("[aria-invalid=true], [autofocus]");
        field.focus();
        field.closest(".field")?.scrollIntoView({ block: "nearest" }); // with its error, above the buttons
        return;
      }
      if (!requestConfig.elt.isConnected) { // the form that was in it: closed meanwhile, and not opened again for this
        window.tellFailure?.(dialog.dataset.unconfirmed);
        return;
      }
      opener = requestConfig.triggeringEvent?.submitter ?? document.activeElement;
      dialog.setAttribute("aria-labelledby", "confirm-title");
      dialog.setAttribute("aria-describedby", "confirm-text");
      dialog.showModal();
      // A long prompt begins at its title: the focus on Cancel would scroll to the end, and that is in sight anyway.
      const actions = document.activeElement.closest(".actions");
      if (actions && getComputedStyle(actions).position === "sticky") dialog.scrollTop = 0;
    } else if (target.id === "api-key") {
      opener = null;
      if (dialog.open) dialog.close();
      upgrade();
      (section().querySelector("[autofocus]") ?? heading()).focus();
      const said = [...section().querySelectorAll("[data-announce]")].map((element) => element.textContent.trim()).join(" ");
      if (said) window.announce?.(said);
    }
  });

  // Only now: without what stands above, htmx would load prompts into a dialog that nobody opens. Until here, and if this
  // file is missing, the buttons lead to pages. (htmx begins when the whole document is there, which is after this.)
  document.querySelector("[hx-disable]").removeAttribute("hx-disable");
})();
