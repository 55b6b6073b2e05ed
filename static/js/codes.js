// Recovery codes: copied or saved as they stand in the page. Nothing is stored.
"use strict";

(() => {
  const list = document.getElementById("codes");
  const said = document.getElementById("codes-said");
  const lines = () => [...list.querySelectorAll("code")].map((code) => `${code.textContent}\n`).join("");

  const say = (text) => {
    said.textContent = text;
    said.hidden = false;
    window.announce?.(text);
  };

  document.querySelector("[data-copy-codes]").addEventListener("click", async (event) => {
    const { dataset } = event.currentTarget; // gone after the first await
    try {
      await navigator.clipboard.writeText(lines()); // not there on plain http, and may be forbidden
      say(dataset.done);
    } catch {
      getSelection().selectAllChildren(list);
      say(dataset.failed);
    }
  });

  document.querySelector("[data-download-codes]").addEventListener("click", ({ currentTarget: { dataset } }) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([lines()], { type: "text/plain" }));
    link.download = dataset.downloadCodes;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    say(dataset.done);
  });

  document.querySelectorAll("[data-needs-script]").forEach((element) => { element.hidden = false; });
})();
